"""Jobs in processes of their own: what ends badly is an answer, several run at once, and nothing outlives its client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import INPUT, tiny_onnx, tiny_tflite
from waiting import wait_for

from converters.errors import Died
from converters.isolate import JobServer, answer_of, run_job
from edge_agent.errors import ModelError

PLAIN: dict[str, Any] = {"state": None, "sizes": {}}
"""Of a model without state whose shapes the file gives."""


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    with JobServer() as running:
        yield running


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    np.savez(tmp_path / "s.npz", **{INPUT: np.ones((4, 4), np.float32)})
    return tmp_path / "s.npz"


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def room(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


def timing(model: Path, samples: Path, budget_s: float) -> dict[str, Any]:
    job = {**PLAIN, "kind": "time", "what": "m", "models": [str(model)], "rows": [0, 1], "samples": str(samples), "preprocess": []}
    return {**job, "budget_s": budget_s}


def endless(folder: Path) -> dict[str, Any]:
    """A job that waits for ever in native code: opening a pipe that nobody writes to."""
    os.mkfifo(folder / "m.tflite")
    return {**PLAIN, "kind": "specs", "what": "m", "model": str(folder / "m.tflite")}


def test_a_forked_and_a_fresh_process_answer_alike(tmp_path: Path, server: JobServer) -> None:
    job = {**PLAIN, "kind": "specs", "what": "m", "model": str(tiny_onnx(tmp_path / "m.onnx"))}
    forked = run_job(tmp_path, job, server=server)
    assert forked == run_job(tmp_path, job)
    assert forked["inputs"][0]["name"] == INPUT


def test_the_server_has_one_thread_and_quiet_libraries(tmp_path: Path, server: JobServer) -> None:
    run_job(tmp_path, {**PLAIN, "kind": "specs", "what": "m", "model": str(tiny_onnx(tmp_path / "m.onnx"))}, server=server)
    pid = server._process.pid
    assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert {b"ORT_DISABLE_TELEMETRY=1", b"OPENBLAS_NUM_THREADS=1"} <= set(environment)


def test_a_crash_is_an_answer_and_the_next_job_runs(tmp_path: Path, server: JobServer) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run_job, tmp_path, endless(tmp_path), server=server)
        child = wait_for(lambda: children(server._process.pid))[0]
        os.kill(child, signal.SIGSEGV)
        with pytest.raises(Died, match=r"m: the runtime crashed \(SIGSEGV\)"):
            answer.result(20)
    assert run_job(tmp_path, {**PLAIN, "kind": "specs", "what": "m", "model": str(tiny_onnx(tmp_path / "m.onnx"))}, server=server)


def test_a_job_past_its_deadline_is_killed(tmp_path: Path, server: JobServer) -> None:
    with pytest.raises(Died, match="m: no answer after 1 s"):
        run_job(tmp_path, endless(tmp_path), timeout_s=0.7, server=server)
    wait_for(lambda: not children(server._process.pid), what="the killed job to be reaped")


def test_what_a_library_refuses_keeps_its_reason(tmp_path: Path, server: JobServer) -> None:
    (tmp_path / "m.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(64))
    with pytest.raises(ModelError, match=r"m\.tflite: .*refuses it"):
        run_job(tmp_path, {**PLAIN, "kind": "specs", "what": "m", "model": str(tmp_path / "m.tflite")}, server=server)


def test_the_last_words_of_a_failed_process_are_told(tmp_path: Path, server: JobServer) -> None:
    speak = "import os, sys; os.write(2, b'first\\nlast words\\n'); sys.exit(3)"
    with pytest.raises(Died, match=r"old runtime: failed \(last words\)"):
        answer_of(tmp_path, "old runtime", 20.0, server, command=[sys.executable, "-c", speak])
    abort = "import os; os.write(2, b'terminate called'); os.abort()"
    with pytest.raises(Died, match=r"old runtime: the runtime crashed \(SIGABRT\): terminate called"):
        answer_of(tmp_path, "old runtime", 20.0, server, command=[sys.executable, "-c", abort])


def test_a_command_gets_its_environment_and_its_answer_is_read(tmp_path: Path, server: JobServer) -> None:
    write = f"import json, os; open({str(tmp_path / 'result.json')!r}, 'w').write(json.dumps(dict(word=os.environ['WORD'])))"
    answer = answer_of(tmp_path, "m", 20.0, server, command=[sys.executable, "-c", write], environment={"WORD": "said"})
    assert answer == {"word": "said"}


def test_several_jobs_run_at_once_each_in_its_own_folder(tmp_path: Path, server: JobServer, samples: Path) -> None:
    models = [tiny_onnx(tmp_path / "m.onnx"), tiny_tflite(tmp_path / "m.tflite")] * 3
    rooms = [room(tmp_path, f"room{i}") for i in range(len(models))]
    common = {**PLAIN, "kind": "infer", "what": "m", "samples": str(samples), "preprocess": []}
    jobs = [{**common, "model": str(model), "rows": list(range(1 + i % 4))} for i, model in enumerate(models)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda pair: run_job(*pair, server=server), zip(rooms, jobs, strict=True)))
    assert [answer["runtime"] for answer in answers] == ["onnxruntime", "ai-edge-litert"] * 3
    for i, folder in enumerate(rooms):
        with np.load(folder / "outputs.npz") as held:
            assert held["output_0"].shape[0] == 1 + i % 4


def test_a_server_that_ends_is_replaced_and_its_job_done_again(tmp_path: Path, samples: Path) -> None:
    model = tiny_onnx(tmp_path / "m.onnx")
    with JobServer() as server, ThreadPoolExecutor(1) as pool:
        first = server._process.pid
        os.kill(first, signal.SIGKILL)
        assert run_job(tmp_path, timing(model, samples, 0.1), server=server)["rounds_us"]
        second = server._process.pid
        answer = pool.submit(run_job, tmp_path, timing(model, samples, 1.0), server=server)
        child = wait_for(lambda: children(second))[0]
        os.kill(second, signal.SIGKILL)
        assert answer.result(30)["rounds_us"]
        assert len({first, second, server._process.pid}) == 3
        wait_for(lambda: not alive(child), what="the job of a server that has ended to end")


def test_nothing_outlives_a_closed_or_a_killed_client(tmp_path: Path) -> None:
    job = repr(endless(tmp_path))
    code = f"from pathlib import Path; from converters.isolate import *; run_job(Path({str(tmp_path)!r}), {job}, server=JobServer())"
    with subprocess.Popen([sys.executable, "-c", code]) as client:
        server = wait_for(lambda: children(client.pid))[0]
        child = wait_for(lambda: children(server))[0]
        client.kill()
        client.wait(20)
    wait_for(lambda: not alive(server) and not alive(child), what="server and job to end with their client")
    with JobServer() as closed:
        pid = closed._process.pid
    assert not alive(pid)


def test_a_closed_server_ends_what_others_wait_for(tmp_path: Path) -> None:
    server = JobServer()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run_job, tmp_path, endless(tmp_path), server=server)
        child = wait_for(lambda: children(server._process.pid))[0]
        server.close()
        assert not alive(child)
        with pytest.raises(Died, match="the process that starts jobs ended"):
            answer.result(20)
