"""A camera: V4L2, a video file or a network stream through OpenCV (the ``camera`` extra). Always the newest frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edge_agent.clock import Clock, SystemClock, monotonic_s
from edge_agent.errors import RuntimeMissing, SourceEnded, SourceError
from edge_agent.values import Sample

_JOIN_S = 0.5
_DEFAULT_FILE_FPS = 25.0


class Capture(Protocol):
    """An opened camera or film."""

    is_film: bool
    """Whether it ends, and its frames wait for whoever reads them."""
    fps: float
    """As it says itself, 0 when it does not."""

    def grab(self) -> Any:
        """The next frame as it comes; ``None`` when there is none."""
        ...

    def rgb(self, frame: Any) -> Any:
        """A grabbed frame as uint8 (height, width, 3) in red, green, blue, C-contiguous. Called from another thread."""
        ...

    def release(self) -> None: ...


OpenCapture = Callable[[Mapping[str, Any]], "Capture | None"]


def open_source(
    name: str, options: Mapping[str, Any], inbox: object = None, *, clock: Clock | None = None, capture: OpenCapture | None = None
) -> CameraSource:
    """As the checked ``options`` say: device (a number, /dev/videoN, a file, a URL), width, height, fps (the camera's own),
    silence_s (10)."""
    return CameraSource(name, options, clock or SystemClock(), capture or open_with_opencv)


class CameraSource:
    """Frames as uint8 (height, width, 3) in red, green, blue, numbered as the camera gave them.

    A thread takes every frame from the driver; a frame that comes before the one ahead of it was read replaces it, and ``lost`` counts
    that. So a frame is never older than one period when it is read. A film plays at its own pace (or ``fps``), as a camera would, and
    ends.
    """

    def __init__(self, name: str, options: Mapping[str, Any], clock: Clock, open_capture: OpenCapture) -> None:
        self.name = name
        self.garbage = 0
        self.lost = 0
        self._options, self._clock, self._open_capture = options, clock, open_capture
        self._silence_s = float(options.get("silence_s", 10.0))
        self._grabber: _Grabber | None = None
        self._seq = 0
        self._heard_s = 0.0

    def open(self) -> None:
        self.close()
        capture = self._open_capture(self._options)
        if capture is None:
            raise SourceError(f"source {self.name}: {self._options['device']} cannot be opened as a camera")
        self._grabber = _Grabber(capture, float(self._options.get("fps", 0.0)), self._clock)
        self._heard_s = monotonic_s(self._clock)

    def read(self, timeout_s: float) -> Sample | None:
        grabber = self._grabber
        if grabber is None:
            raise SourceError(f"source {self.name}: {self._options['device']} is not open")
        taken = grabber.newest(timeout_s)
        if taken is not None:
            return self._sample(*taken)
        if grabber.ended:
            self.close()
            if grabber.is_film:
                raise SourceEnded(f"source {self.name}: {self._options['device']} was played to its end")
            raise SourceError(f"source {self.name}: {self._options['device']} was lost{grabber.why}")
        if monotonic_s(self._clock) - self._heard_s > self._silence_s:
            self.close()
            raise SourceError(f"source {self.name}: {self._options['device']} gave no frame for {self._silence_s:g} s")
        return None

    def close(self) -> None:
        grabber, self._grabber = self._grabber, None
        if grabber is not None:
            grabber.stop()

    def _sample(self, frame: Any, t_ns: int, older: int) -> Sample:
        self._heard_s = monotonic_s(self._clock)
        self.lost += older
        self._seq += older + 1
        return Sample(self.name, self._seq - 1, t_ns, frame)


class _Grabber:
    """The thread that empties a capture, and its one place for a frame. The capture belongs to the thread: only it may release it, and one
    that hangs in the driver hangs alone."""

    def __init__(self, capture: Capture, fps: float, clock: Clock) -> None:
        self.is_film = capture.is_film
        self.ended = False
        self.why = ""
        self._capture, self._clock = capture, clock
        pace_hz = (fps or capture.fps or _DEFAULT_FILE_FPS) if capture.is_film else 0.0
        self._pause_s = 1 / pace_hz if pace_hz else 0.0
        self._change = threading.Condition()
        self._stopping = threading.Event()
        self._frame: Any = None
        self._t_ns = 0
        self._older = 0
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def newest(self, timeout_s: float) -> tuple[Any, int, int] | None:
        """The frame nobody had yet, when it came (monotonic ns), and how many before it nobody will have."""
        with self._change:
            if self._frame is None and not self.ended:
                self._change.wait(timeout_s)
            if self._frame is None:
                return None
            taken = self._frame, self._t_ns, self._older
            self._frame, self._older = None, 0
        frame, t_ns, older = taken
        return self._capture.rgb(frame), t_ns, older

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            due_s = monotonic_s(self._clock)
            while not self._stopping.is_set():
                frame = self._capture.grab()
                if frame is None:
                    break
                self._put(frame)
                due_s += self._pause_s
                if self._pause_s:
                    self._stopping.wait(max(0.0, due_s - monotonic_s(self._clock)))
        except Exception as error:  # whatever a driver raises, the reader must hear that it is over
            self.why = f" ({error})"
        finally:
            self._capture.release()
            with self._change:
                self.ended = True
                self._change.notify()

    def _put(self, frame: Any) -> None:
        with self._change:
            self._older += self._frame is not None
            self._frame, self._t_ns = frame, self._clock.monotonic_ns()
            self._change.notify()


def open_with_opencv(options: Mapping[str, Any]) -> Capture | None:
    """``None`` when OpenCV cannot open the device."""
    try:
        import cv2
    except ImportError as error:
        raise RuntimeMissing(f"OpenCV cannot be used ({error}): pip install 'edge-runtime[camera]'") from None
    device = options["device"]
    is_camera = isinstance(device, int) or device.startswith("/dev/")
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2 if is_camera else cv2.CAP_ANY)
    if not capture.isOpened():
        capture.release()
        return None
    if is_camera:
        _ask_for(cv2, capture, options)
    return _OpenCvCapture(cv2, capture, is_film=not is_camera and "://" not in device)


def _ask_for(cv2: Any, capture: Any, options: Mapping[str, Any]) -> None:
    """A size and pace; the camera takes the nearest it has."""
    wishes = {"width": cv2.CAP_PROP_FRAME_WIDTH, "height": cv2.CAP_PROP_FRAME_HEIGHT, "fps": cv2.CAP_PROP_FPS}
    for key, word in wishes.items():
        if key in options:
            capture.set(word, options[key])
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)


class _OpenCvCapture:
    def __init__(self, cv2: Any, capture: Any, *, is_film: bool) -> None:
        self.is_film = is_film
        self.fps = float(capture.get(cv2.CAP_PROP_FPS)) or 0.0
        self._cv2, self._capture = cv2, capture

    def grab(self) -> Any:
        there, frame = self._capture.read()
        return frame if there else None

    def rgb(self, frame: Any) -> Any:
        return self._cv2.cvtColor(frame, self._cv2.COLOR_GRAY2RGB if frame.ndim == 2 else self._cv2.COLOR_BGR2RGB)

    def release(self) -> None:
        self._capture.release()
