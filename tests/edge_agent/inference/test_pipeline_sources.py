"""Pipelines fed by programs, sockets and made-up signals, in their real processes: every sample is accounted for, nothing stays behind."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from engine_rig import Rig
from waiting import wait_for

from edge_agent.config import PipelineConfig, SourceConfig

POLICIES = ("drop_oldest", "block", "latest_only")


def add(rig: Rig, kind: str, options: dict[str, Any], **more: Any) -> None:
    rig.engine.add_pipeline(PipelineConfig("p", "tiny", SourceConfig(kind, options), (rig.jsonl(),), **more))


@pytest.mark.parametrize("block", [1, 64])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_sample_of_a_flood_is_accounted_for(rig: Rig, policy: str, block: int) -> None:
    add(rig, "synthetic", {"rate_hz": 0, "channels": 2, "limit": 3001, "block": block}, length=2, hop=2, queue=100, policy=policy)
    counters = rig.wait_ended().counters
    assert counters.produced == 3001
    assert counters.produced == counters.processed + counters.dropped + counters.failed + counters.in_flight
    assert counters.in_flight < 2, "half a window"
    if policy == "block":
        assert (counters.dropped, counters.windows, counters.in_flight) == (0, 1500, 1)
    lines = rig.lines()
    assert len(lines) == counters.windows > 0
    seqs = [line["first_seq"] for line in lines]
    assert seqs == sorted(set(seqs))


def test_windows_by_time_from_a_paced_source(rig: Rig) -> None:
    options = {"rate_hz": 1000, "channels": 1, "limit": 1000, "block": 10}
    add(rig, "synthetic", options, length=4, length_s=0.1, hop_s=0.1)
    counters = rig.wait_ended().counters
    assert counters.windows == 10 and counters.produced == 1000 == counters.processed + counters.dropped + counters.in_flight


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_program_that_dies_is_started_again_and_dies_with_its_pipeline(rig: Rig) -> None:
    pids = rig.folder / "pids"
    code = f"import os, time; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\nfor n in range(25): print('1,2,3,4', flush=True)\n"
    again = f"import os; n = len(open({str(pids)!r}).readlines()); time.sleep(600) if n > 2 else os.kill(os.getpid(), 11)"
    add(rig, "exec", {"command": [sys.executable, "-S", "-c", code + again]})
    rig.wait_windows(75)
    assert "SIGSEGV" in rig.wait_event("source_lost").message
    last = int(pids.read_text().split()[-1])
    assert alive(last)
    rig.kill("pipeline")
    wait_for(lambda: not alive(last))
    wait_for(lambda: len(rig.lines()) == 100)
    rig.wait_windows(25)
    counters = rig.status().counters
    assert counters.produced == counters.processed + counters.dropped + counters.failed + counters.in_flight


def test_a_sender_comes_goes_and_comes_again(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    add(rig, "socket", {"address": str(port), "listen": True})
    for round_number in (1, 2):
        peer = wait_for(lambda: connect(port))
        assert peer is not None
        with peer:
            peer.sendall(b"1,2,3,4\n" * 50)
            rig.wait_windows(50 * round_number)
    assert "source_lost" not in rig.kinds()


def connect(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port))
    except OSError:
        return None
