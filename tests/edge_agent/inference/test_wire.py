from __future__ import annotations

import os

import pytest

from edge_agent.inference.wire import INLINE_BYTES, Channel, ChannelClosed, ChannelFull, close_all, pair


@pytest.fixture
def ends() -> tuple[Channel, Channel]:
    ours, theirs = pair()
    return ours, Channel(theirs)


def test_a_message_and_its_descriptors_arrive(ends: tuple[Channel, Channel]) -> None:
    read, write = os.pipe()
    ends[0].send({"op": "take", "number": 3}, (write,))
    os.close(write)
    packet = ends[1].wait(1.0)
    assert packet is not None and packet.message == {"op": "take", "number": 3}
    assert not os.get_inheritable(packet.fds[0])
    os.write(packet.fds[0], b"through")
    close_all(packet.fds)
    assert os.read(read, 16) == b"through"
    os.close(read)


@pytest.mark.parametrize("size", [INLINE_BYTES - 100, INLINE_BYTES + 100, 3 << 20])
def test_a_message_of_any_size_arrives_with_its_descriptors(ends: tuple[Channel, Channel], size: int) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    null = os.open("/dev/null", os.O_RDONLY)
    ends[0].send({"text": "x" * size}, (null,))
    os.close(null)
    packet = ends[1].wait(1.0)
    assert packet is not None and len(packet.message["text"]) == size and len(packet.fds) == 1
    close_all(packet.fds)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_nothing_waiting_is_not_the_end(ends: tuple[Channel, Channel]) -> None:
    assert ends[0].receive() is None
    assert ends[0].wait(0.0) is None


def test_the_end_of_the_other_side_is_told_after_its_last_message(ends: tuple[Channel, Channel]) -> None:
    ends[0].send({"last": True})
    ends[0].close()
    packet = ends[1].receive()
    assert packet is not None and packet.message == {"last": True}
    with pytest.raises(ChannelClosed):
        ends[1].receive()
    with pytest.raises(ChannelClosed):
        ends[1].send({})


def test_an_end_that_does_not_read_is_told_apart_from_one_that_is_gone(ends: tuple[Channel, Channel]) -> None:
    with pytest.raises(ChannelFull):
        for _ in range(100_000):
            ends[0].send({"text": "x" * 1000})
