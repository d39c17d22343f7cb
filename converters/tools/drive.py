"""Ask a tool environment for something: copies in, one script, ``result.json`` and files out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import Died, InputError
from converters.given import check_given
from converters.tools.environments import find, make, tool_of
from converters.tools.group import ended, ended_group, kill_group, lines_of

Tell = Callable[[str], None]
SCRIPTS = Path(__file__).parent / "scripts"
TIMEOUT_S = 1800.0
MAX_RESULT_BYTES = 16 << 20
_KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR", "OMP_NUM_THREADS")
_TOLD = b"tell: "


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What the script returned, and the folder it worked in, with the files it left."""

    tree: Mapping[str, Any]
    folder: Path


def run_tool(
    name: str,
    script: str,
    job: Mapping[str, Any],
    files: Mapping[str, Path],
    folder: Path,
    *,
    make: bool,
    tell: Tell,
    timeout_s: float = TIMEOUT_S,
) -> ToolAnswer:
    """Runs ``scripts/<script>.py`` in the environment ``name`` on copies of ``files`` (by the name each has in ``folder``).

    ``job`` goes to the script as it is; ``job["what"]``, or the first file, is what errors name. ``make`` allows to make the environment.
    Raises :class:`InputError` for what the script refuses or its framework cannot do, and for an environment that is missing;
    :class:`~converters.errors.Died` for a crash or no answer in time.
    """
    what = str(job.get("what") or next(iter(files.values()), script))
    python = environment_for(name, what, may_make=make, tell=tell)
    folder = folder.resolve()
    for inside, path in files.items():
        _copy(path, folder / inside)
    (folder / "job.json").write_text(json.dumps(dict(job)))
    (folder / "result.json").unlink(missing_ok=True)
    command = [str(python), "-s", "-B", str(SCRIPTS / "run.py"), script, str(folder)]
    status, last = _watched(command, folder, tell, timeout_s)
    return ToolAnswer(_read(folder, f"{what}: tool {name}", what, status, last, timeout_s), folder)


def environment_for(name: str, what: str, *, may_make: bool, tell: Tell) -> Path:
    """The Python of the environment ``name``. Raises :class:`InputError` saying how to make it where it is missing and may not be made."""
    tool = tool_of(name)
    python = find(tool)
    if python is not None:
        return python
    if not may_make:
        raise InputError(
            f"{what}: needs the tool environment {name}, which is not made; "
            f"make it with: edge-convert tools add {name} (it downloads), or give --make-tools"
        )
    return make(tool, tell)


def _copy(path: Path, target: Path) -> None:
    """Copies, never links: the file that was given is only ever read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.is_dir():
            _check_inside(path)
            shutil.copytree(path, target)
        else:
            check_given(path)
            shutil.copyfile(path, target)
    except (OSError, shutil.Error) as error:
        said = "of some files in it" if isinstance(error, shutil.Error) else error.strerror or str(error)
        raise InputError(f"{path}: cannot be copied ({said})") from None


def _check_inside(folder: Path) -> None:
    """Raises :class:`InputError` for a link in ``folder`` that leads out of it: copying follows links, and each file counts as given. What
    is no regular file (a pipe would be waited for) is refused too."""
    root = folder.resolve()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            found = Path(place, name)
            if found.is_symlink() and root not in found.resolve().parents:
                raise InputError(f"{found}: is a link that leads out of {folder}; this is refused")
        for name in files:
            check_given(Path(place, name))


def _watched(command: list[str], folder: Path, tell: Tell, timeout_s: float) -> tuple[int | None, str]:
    """The status of ``command``, ``None`` when it was ended for its time, and the last line it said. Ctrl-C ends all of it."""
    last: deque[bytes] = deque(maxlen=1)
    late = threading.Event()
    with ended_group(command, _environment(folder), folder) as child:

        def stop() -> None:
            late.set()
            kill_group(child)

        timer = threading.Timer(timeout_s, stop)
        timer.daemon = True
        timer.start()
        try:
            for line in lines_of(child):
                if line.startswith(_TOLD):
                    tell(line[len(_TOLD) :].decode("utf-8", "replace").strip())
                elif line.strip():
                    last.append(line)
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        finally:
            timer.cancel()
            timer.join()  # so that the number it would kill is still the child's
        status = ended(child)
    return None if late.is_set() else status, b"".join(last).decode("utf-8", "replace").strip()[:300]


def _environment(folder: Path) -> dict[str, str]:
    """What a framework sees: its own empty home, no accelerator, no network by way of a proxy, no telemetry."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    quiet = {
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",  # its other order of additions differs between processors
        "KERAS_BACKEND": "tensorflow",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONHASHSEED": "0",  # or names in what is translated come out in another order each time
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    return {**kept, **nowhere, **quiet}


def _read(folder: Path, who: str, what: str, status: int | None, last: str, timeout_s: float) -> dict[str, Any]:
    if status is None:
        raise Died(f"{who} gave no answer in {timeout_s:.0f} s")
    result = folder / "result.json"
    if status < 0:
        raise Died(f"{who} crashed ({signal.Signals(-status).name})")
    if status > 0 or not result.is_file():
        raise Died(f"{who} failed ({last or 'it said nothing'})")
    if result.stat().st_size > MAX_RESULT_BYTES:
        raise Died(f"{who} answered with more than {MAX_RESULT_BYTES} bytes")
    tree = json.loads(result.read_bytes())
    plain = str(folder) + os.sep
    if "refused" in tree:
        raise InputError(f"{what}: {str(tree['refused']).replace(plain, '')}")
    if "failed" in tree:
        raise InputError(f"{who} cannot do it: {str(tree['failed']).replace(plain, '')}")
    answer: dict[str, Any] = tree["answer"]
    return answer
