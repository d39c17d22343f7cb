"""Cameras: always the newest frame, every older one counted, and all the ways a camera goes away."""

from __future__ import annotations

import queue
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_for

from edge_agent.clock import ManualClock, SystemClock
from edge_agent.errors import RuntimeMissing, SourceEnded, SourceError
from edge_agent.pipeline.intake import Intake
from edge_agent.sources.camera import CameraSource, open_source
from edge_agent.values import Sample


class FakeCamera:
    """Gives the frames that the test shows it; ``None`` is the cable pulled, an exception what a driver may raise."""

    fps = 0.0

    def __init__(self, *, is_film: bool = False) -> None:
        self.is_film = is_film
        self.shown: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.seen = 0
        self.released = False

    def show(self, *frames: Any) -> None:
        for frame in frames:
            self.shown.put(frame)

    def grab(self) -> Any:
        frame = self.shown.get()
        self.seen += 1
        if isinstance(frame, Exception):
            raise frame
        return frame

    def rgb(self, frame: Any) -> Any:
        return np.ascontiguousarray(frame[:, :, ::-1])

    def release(self) -> None:
        self.released = True


def frame(number: int) -> Any:
    return np.full((4, 6, 3), (number, 100, 200), np.uint8)


def opened(*cameras: FakeCamera | None, clock: Any = None, **options: Any) -> CameraSource:
    left = list(cameras)
    source = open_source("s", {"device": 0, **options}, clock=clock or SystemClock(), capture=lambda options: left.pop(0))
    source.open()
    return source


def test_frames_are_red_green_blue_and_whole() -> None:
    camera = FakeCamera()
    source = opened(camera)
    camera.show(frame(7))
    sample = source.read(5.0)
    assert sample is not None and sample.values.shape == (4, 6, 3) and sample.values.dtype == np.uint8
    assert sample.values[0, 0].tolist() == [200, 100, 7] and sample.values.flags.c_contiguous
    camera.show(None)
    source.close()


def test_only_the_newest_frame_waits_and_the_others_are_counted() -> None:
    camera = FakeCamera()
    source = opened(camera)
    camera.show(*map(frame, range(5)))
    wait_for(lambda: camera.seen == 5 and camera.shown.empty())
    camera.show(frame(5), frame(6))
    wait_for(lambda: camera.seen == 7)
    sample = wait_for(lambda: newest(source, 6))
    assert (sample.seq, source.lost) == (6, 6)
    assert source.read(0.01) is None, "no frame is given twice"
    camera.show(frame(7))
    sample = source.read(5.0)
    assert sample is not None and (sample.seq, source.lost) == (7, 6)
    camera.show(None)
    source.close()


def newest(source: CameraSource, number: int) -> Sample | None:
    """The frame ``number``, which may not have been put down yet when the driver gave it."""
    with source._grabber._change:  # type: ignore[union-attr]
        waiting = source._grabber._frame  # type: ignore[union-attr]
    return source.read(0.0) if waiting is not None and waiting[0, 0, 0] == number else None


def test_produced_is_read_and_lost_together() -> None:
    camera = FakeCamera()
    source = opened(camera, camera)
    camera.show(*map(frame, range(20)))
    intake = Intake(source, 1, SystemClock(), lambda *_: None, lambda: 0.0, "latest_only")
    source.close()
    intake.start()
    camera.show(*map(frame, range(20)), frame(20))

    def all_in() -> bool:
        counts = intake.counts()
        assert counts.produced == counts.dropped + counts.waiting
        return camera.shown.empty() and counts.waiting == 1

    wait_for(all_in)
    camera.show(None, None)
    intake.stop()


@pytest.mark.parametrize(("last", "words"), [(None, "was lost"), (OSError("EIO"), r"was lost \(EIO\)")])
def test_an_unplugged_camera_is_an_error_and_comes_back(last: Any, words: str) -> None:
    first, second = FakeCamera(), FakeCamera()
    source = opened(first, None, second)
    first.show(frame(1), last)
    wait_for(lambda: first.released)
    sample = source.read(0.0)
    assert sample is not None and sample.seq == 0, "the last frame before it is still given"
    with pytest.raises(SourceError, match=words):
        source.read(1.0)
    with pytest.raises(SourceError, match="cannot be opened as a camera"):
        source.open()
    source.open()
    second.show(frame(2))
    sample = source.read(5.0)
    assert sample is not None and sample.seq == 1
    second.show(None)
    source.close()


def test_a_camera_that_says_nothing_for_long_is_opened_anew() -> None:
    clock = ManualClock()
    camera = FakeCamera()
    source = opened(camera, clock=clock, silence_s=5)
    assert source.read(0.0) is None
    clock.advance_s(6)
    with pytest.raises(SourceError, match="gave no frame for 5 s"):
        source.read(0.0)
    camera.show(None)
    wait_for(lambda: camera.released)


def test_the_thread_that_reads_a_camera_releases_it() -> None:
    camera = FakeCamera()
    source = opened(camera)
    source.close()
    assert not camera.released, "it hangs in the driver, and nobody else touches it"
    camera.show(frame(0))
    wait_for(lambda: camera.released)


def test_a_film_ends() -> None:
    film = FakeCamera(is_film=True)
    source = opened(film, fps=1000)
    film.show(frame(0), None)
    with pytest.raises(SourceEnded, match="to its end"):
        wait_for(lambda: source.read(0.05) and None)


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(RuntimeMissing, match=r"edge-runtime\[camera\]"):
        open_source("s", {"device": 0}).open()


def test_what_opencv_needs_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """How the library is called, on a stand-in for it."""
    asked: dict[int, Any] = {}

    class VideoCapture:
        def __init__(self, device: Any, backend: int) -> None:
            asked[-1] = (device, backend)

        def isOpened(self) -> bool:
            return asked[-1][0] != "/dev/video9"

        def set(self, key: int, value: Any) -> None:
            asked[key] = value

        def get(self, key: int) -> float:
            return 30.0

        def read(self) -> tuple[bool, Any]:
            return True, frame(1)

        def release(self) -> None:
            asked[-2] = True

    words: Mapping[str, Any] = {
        "VideoCapture": VideoCapture,
        "CAP_V4L2": 200,
        "CAP_ANY": 0,
        "CAP_PROP_FRAME_WIDTH": 3,
        "CAP_PROP_FRAME_HEIGHT": 4,
        "CAP_PROP_FPS": 5,
        "CAP_PROP_BUFFERSIZE": 38,
        "COLOR_BGR2RGB": 4,
        "COLOR_GRAY2RGB": 8,
        "cvtColor": lambda picture, code: picture[:, :, ::-1],
    }
    monkeypatch.setitem(sys.modules, "cv2", type(sys)("cv2"))
    for name, value in words.items():
        setattr(sys.modules["cv2"], name, value)
    source = open_source("s", {"device": "/dev/video0", "width": 640, "height": 480, "fps": 15})
    source.open()
    assert source.read(5.0) is not None
    source.close()
    wait_for(lambda: asked.get(-2))
    assert asked == {-1: ("/dev/video0", 200), -2: True, 3: 640, 4: 480, 5: 15, 38: 1}
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source("s", {"device": "/dev/video9"}).open()


def test_a_real_film(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install 'edge-runtime[camera]'")
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 100.0, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), (10 * number, 60, 250), np.uint8))
    writer.release()
    source = open_source("s", {"device": str(path)})
    source.open()
    samples: list[Sample] = []
    with pytest.raises(SourceEnded):
        while True:
            sample = source.read(5.0)
            if sample is not None:
                samples.append(sample)
    assert samples[-1].seq == 19 and len(samples) + source.lost == 20
    assert samples[-1].values.shape == (48, 64, 3)
    red, green, blue = samples[0].values[0, 0].tolist()
    assert abs(red - 250) < 12 and abs(green - 60) < 12 and abs(blue - 10 * samples[0].seq) < 12
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source("s", {"device": str(tmp_path / "none.avi")}).open()
