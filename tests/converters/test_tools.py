"""Tool environments: made whole or not at all, found only while they fit, driven on copies. Nothing here needs a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from converters.__main__ import main
from converters.errors import Died, InputError
from converters.tools import drive, environments
from converters.tools.catalogue import TOOLS, Tool, runtime_tool, tool_of
from converters.tools.drive import run_tool
from converters.tools.environments import find, home, listed, make, remove
from edge_agent.errors import RuntimeMissing

HERE = f"3.{sys.version_info.minor}"
EMPTY = Tool("empty", (), (HERE, HERE), "an environment that holds nothing")


def silent(text: str) -> None:
    pass


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CONVERT_TOOLS", str(tmp_path / "tools"))

    def known(name: str) -> Tool:
        return EMPTY if name == EMPTY.name else tool_of(name)

    monkeypatch.setattr(environments, "tool_of", known)
    monkeypatch.setattr(drive, "tool_of", known)
    monkeypatch.setattr(environments, "is_tool", lambda name: name in (*TOOLS, EMPTY.name))


def wheel(folder: Path, version: str = "1.0") -> Path:
    """A package of one module, as pip takes it."""
    path = folder / f"edge_tiny-{version}-py3-none-any.whl"
    info = f"edge_tiny-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("edge_tiny.py", "answer = 42\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: edge-tiny\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_an_environment_holds_what_was_asked_and_is_found_again(tmp_path: Path) -> None:
    tool = Tool("empty", (str(wheel(tmp_path)),), (HERE, HERE), "one wheel")
    told: list[str] = []
    assert find(tool) is None
    python = make(tool, told.append)
    assert find(tool) == python
    said = subprocess.run([python, "-I", "-c", "import edge_tiny; print(edge_tiny.answer)"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "42"
    (made,) = listed()
    assert dict(made.installed)["edge-tiny"] == "1.0" and made.requirements == tool.requirements
    assert any("making its environment" in text for text in told) and told[-1].endswith("ready")
    again: list[str] = []
    assert make(tool, again.append) == python and not again


def test_an_environment_with_other_requirements_is_not_found_and_is_made_anew() -> None:
    make(EMPTY, silent)
    (home() / "empty" / "left-over").touch()
    ready = home() / "empty" / "ready.json"
    ready.write_text(json.dumps({**json.loads(ready.read_text()), "requirements": ["something-else"]}))
    assert find(EMPTY) is None and [entry.name for entry in listed()] == ["empty"]
    make(EMPTY, silent)
    assert find(EMPTY) and not (home() / "empty" / "left-over").exists()


@pytest.mark.parametrize("torn", [None, b"", b"{", b"[]", b'{"requirements": 3}', b'{"requirements": [], "python": 4, "installed": []}'])
def test_a_half_made_environment_is_not_found_and_is_made_anew(torn: bytes | None) -> None:
    make(EMPTY, silent)
    ready = home() / "empty" / "ready.json"
    ready.unlink()
    if torn is not None:
        ready.write_bytes(torn)
    assert find(EMPTY) is None and not listed()
    make(EMPTY, silent)
    assert find(EMPTY)


def test_an_environment_whose_python_is_gone_is_not_found() -> None:
    python = make(EMPTY, silent)
    python.unlink()
    assert find(EMPTY) is None


def test_what_pip_cannot_install_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = tmp_path / "edge_tiny-1.0-py3-none-any.whl"
    broken.write_bytes(b"no archive")
    with pytest.raises(RuntimeMissing, match="tool empty: pip cannot install it") as caught:
        make(Tool("empty", (str(broken),), (HERE, HERE), ""), silent)
    assert "edge_tiny" in str(caught.value)
    assert not (home() / "empty").exists()


def test_a_python_that_does_not_exist_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RuntimeMissing, match=r"needs Python 3\.98 to 3\.99"):
        make(Tool("empty", (), ("3.98", "3.99"), ""), silent)
    assert not (home() / "empty").exists()


def test_two_at_once_make_it_once() -> None:
    told: list[str] = []
    threads = [threading.Thread(target=make, args=(EMPTY, told.append)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("making its environment" in text for text in told) == 1 and find(EMPTY)


def test_removing() -> None:
    make(EMPTY, silent)
    assert remove("empty") and not remove("empty") and find(EMPTY) is None
    with pytest.raises(InputError, match="there is none"):
        remove("../elsewhere")


@pytest.mark.parametrize(
    ("library", "version", "python", "numpy"),
    [
        ("tflite-runtime", "2.14.0", ("3.9", "3.11"), "numpy<2"),
        ("onnxruntime", "1.17.0", ("3.9", "3.12"), "numpy<2"),
        ("onnxruntime", "1.31.1", ("3.11", "3.13"), "numpy"),
        ("ai-edge-litert", "2.1.0", ("3.10", "3.13"), "numpy"),
    ],
)
def test_runtimes_name_their_exact_version_and_the_pythons_it_was_built_for(library: str, version: str, python: Any, numpy: str) -> None:
    tool = runtime_tool(library, version)
    assert tool.requirements == (f"{library}=={version}", numpy) and tool.python == python
    assert tool_of(tool.name) == tool


@pytest.mark.parametrize("name", ["torch-2.0.0", "onnxruntime", "onnxruntime-", "onnxruntime-1.17.0/..", "", "..", "onnxruntime-1.x"])
def test_unknown_names_are_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(InputError, match="keras, pytorch, sklearn"):
        tool_of(name)


def test_the_command_lists_adds_and_removes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools"]) == 0
    assert "keras" in capsys.readouterr().out
    assert main(["tools", "list", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["home"] == str(home()) and tree["tools"]["keras"]["state"] == "absent"
    assert main(["tools", "remove", "keras"]) == 0
    assert "was not there" in capsys.readouterr().out
    assert main(["tools", "add"]) == 2
    assert main(["tools", "add", "no-such-tool"]) == 2
    assert "there is none" in capsys.readouterr().err


SCRIPT = """
    import os, signal, subprocess, sys, time
    from pathlib import Path
    class Refused(Exception):
        pass
    def main(folder, job, tell):
        tell("began")
        print("noise of a framework")
        act = job["act"]
        if act == "refuse":
            raise Refused("holds nothing")
        if act == "fail":
            raise TypeError(f"{folder}/model.bin: cannot\\nfor two reasons")
        if act == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if act == "hang":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (folder / "child").write_text(str(child.pid))
            child.wait()
        if act == "flood":
            return {"text": "x" * (20 << 20)}
        (folder / "model.bin").write_bytes(b"changed")
        return {"environment": dict(os.environ), "text": Path("model.bin").read_text(), "path": sys.path}
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., drive.ToolAnswer]:
    """Asks a script of the test's own in an environment that is made."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(drive.SCRIPTS / "run.py", scripts)
    (scripts / "acting.py").write_text(textwrap.dedent(SCRIPT))
    monkeypatch.setattr(drive, "SCRIPTS", scripts)
    given = tmp_path / "given.bin"
    given.write_bytes(b"original")
    make(EMPTY, silent)

    def ask(act: str, *, tell: Callable[[str], None] = silent, timeout_s: float = 60.0) -> drive.ToolAnswer:
        work = tmp_path / "work"
        work.mkdir()
        return run_tool("empty", "acting", {"act": act}, {"model.bin": given}, work, make=False, tell=tell, timeout_s=timeout_s)

    return ask


def test_a_script_works_on_a_copy_with_nothing_of_our_surroundings(asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    told: list[str] = []
    answer = asked("answer", tell=told.append)
    assert told == ["began"]
    assert answer.tree["text"] == "changed" and (tmp_path / "given.bin").read_bytes() == b"original"
    environment = answer.tree["environment"]
    assert "SECRET_TOKEN" not in environment and "PYTHONPATH" not in environment
    assert environment["HOME"] == str(answer.folder) and environment["CUDA_VISIBLE_DEVICES"] == "-1"
    assert str(Path(__file__).parents[2]) not in answer.tree["path"] and "/elsewhere" not in answer.tree["path"]


def test_refusals_and_failures_name_the_users_file(asked: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"given\.bin: holds nothing"):
        asked("refuse")
    shutil.rmtree(tmp_path / "work")
    with pytest.raises(InputError, match=r"given\.bin: tool empty cannot do it: TypeError: model\.bin: cannot for two reasons"):
        asked("fail")


@pytest.mark.parametrize(("act", "said"), [("crash", "crashed .SIGSEGV."), ("flood", "more than")])
def test_a_crash_and_a_flood_are_answers(asked: Any, act: str, said: str) -> None:
    with pytest.raises(Died, match=rf"given\.bin: tool empty .*{said}"):
        asked(act)


def test_a_script_that_takes_too_long_is_ended_with_all_it_started(asked: Any, tmp_path: Path) -> None:
    with pytest.raises(Died, match="no answer in 2 s"):
        asked("hang", timeout_s=2.0)
    child = int((tmp_path / "work" / "child").read_text())
    assert not os.path.exists(f"/proc/{child}") or "Z" in Path(f"/proc/{child}/stat").read_text().split(")")[1][:3]  # noqa: PTH110


def test_a_missing_environment_is_never_made_unasked(tmp_path: Path) -> None:
    given = tmp_path / "given.bin"
    given.touch()
    with pytest.raises(InputError, match=r"given\.bin: needs the tool environment keras.*edge-convert tools add keras.*--make-tools"):
        run_tool("keras", "keras_to_onnx", {}, {"model.h5": given}, tmp_path, make=False, tell=silent)
    assert not home().exists()


def test_a_folder_is_not_copied_with_what_its_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not given")
    folder = tmp_path / "model"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "words").write_text("given")
    (folder / "inside").symlink_to("assets/words")
    drive._copy(folder, tmp_path / "copy")
    assert (tmp_path / "copy" / "inside").read_text() == "given"
    (folder / "assets" / "outside").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="outside: is a link that leads out of"):
        drive._copy(folder, tmp_path / "again")
    (folder / "assets" / "outside").unlink()
    os.mkfifo(folder / "assets" / "pipe")
    with pytest.raises(InputError, match="pipe: is not a regular file"):
        drive._copy(folder, tmp_path / "again")
