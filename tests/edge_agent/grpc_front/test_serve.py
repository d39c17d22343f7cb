"""``edge-agent serve FILE --grpc ADDR``, asked by clients that others wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_rig import SERVICE
from waiting import wait_for

from benchmarks.inference.environments import HOME
from benchmarks.inference.server import free_port
from benchmarks.tiny_model import linear_graph
from edge_agent.grpc_front.messages import Messages

pytestmark = pytest.mark.timeout(90)
PROGRAMS = Path(__file__).parents[3] / "benchmarks" / "inference" / "programs"
TRITON_CLIENT = HOME / "tritonclient" / "bin" / "python"
PERF_ANALYZER = HOME / "perf-analyzer" / "bin" / "perf_analyzer"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(linear_graph().SerializeToString())
    return path


@pytest.fixture
def start(model: Path) -> Iterator[Callable[..., tuple[psutil.Process, str, str]]]:
    """Starts the command; its process, and where HTTP and gRPC are served."""
    running: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> tuple[psutil.Process, str, str]:
        command = [sys.executable, "-m", "edge_agent", "serve", str(model), "--listen", "127.0.0.1:0", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        http, over_grpc = (process.stdout.readline().split(" on ")[1].strip() for _ in range(2))
        return psutil.Process(process.pid), http.removeprefix("http://"), over_grpc.removeprefix("grpc ")

    yield begin
    for process in running:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not psutil.wait_procs(family, timeout=5)[1]
        assert process.stdout is not None
        process.stdout.close()


def named(server: psutil.Process, name: str) -> list[int]:
    return [child.pid for child in server.children(recursive=True) if child.name() == name]


def test_processes_that_are_killed_come_back(start: Callable[..., Any]) -> None:
    server, _, url = start("--grpc", "127.0.0.1:0")
    messages = Messages()
    request = messages.of("ModelInferRequest")(model_name="tiny", id="1")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1, 2, 3, 4])
    with grpc.insecure_channel(url) as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")

        def answered() -> bool:
            try:
                answer = infer(request.SerializeToString(), timeout=15, wait_for_ready=True)
            except grpc.RpcError as error:
                assert error.code().name == "UNAVAILABLE", error
                return False
            return messages.read("ModelInferResponse", answer).id == "1"  # type: ignore[no-any-return]

        assert answered()
        for name in ("edge-tiny", "edge-api", "edge-grpc"):
            (pid,) = named(server, name)
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda name=name, pid=pid: [p for p in named(server, name) if p != pid], 20.0, f"a new {name}")
            wait_for(answered, 30.0, f"answers after {name} was killed")


def test_wrong_addresses_are_refused(model: Path) -> None:
    for address, why in (("0.0.0.0:1", "--grpc: '0.0.0.0:1'"), ("nowhere", "--grpc: 'nowhere'")):
        command = [sys.executable, "-m", "edge_agent", "serve", str(model), "--listen", "127.0.0.1:0", "--grpc", address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 2 and why in done.stderr


@pytest.mark.skipif(
    not TRITON_CLIENT.is_file(), reason=f"tritonclient is not installed in {TRITON_CLIENT.parent.parent} (make bench-inference does)"
)
def test_tritonclient_unmodified(start: Callable[..., Any]) -> None:
    _, http, url = start("--grpc", "127.0.0.1:0")
    program = [str(TRITON_CLIENT), str(PROGRAMS / "client_matrix.py"), http, url, "tiny", "1,4"]
    found = json.loads(subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert found["grpc"] == dict.fromkeys(["ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"], "")
    extras = Path(__file__).parent / "triton_extras.py"
    done = subprocess.run([str(TRITON_CLIENT), str(extras), url], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["configuration", "statistics", "repository", "memory", "stream", "refusals"]


@pytest.mark.skipif(
    not PERF_ANALYZER.is_file(), reason=f"perf_analyzer is not installed in {PERF_ANALYZER.parent} (make bench-inference does)"
)
@pytest.mark.parametrize("more", [[], ["--streaming"], ["--shared-memory", "system"]], ids=["calls", "stream", "memory"])
def test_perf_analyzer_runs_to_its_end(start: Callable[..., Any], more: list[str]) -> None:
    url = start("--grpc", f"127.0.0.1:{free_port()}")[2]
    libraries = next((HOME / "perf-analyzer").glob("lib/python*/site-packages/nvidia/cuda_runtime/lib"))
    words = ["-m", "tiny", "-u", url, "-i", "grpc", "--measurement-mode", "count_windows", "--measurement-request-count", "50"]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    # a stability of 100000 % takes any three windows: that it gets there is the question, not how fast
    command = [str(PERF_ANALYZER), *words, "-s", "100000", "-r", "5", "-p", "500", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 0 and "Throughput:" in done.stdout, done.stdout + done.stderr
