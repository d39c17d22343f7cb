"""The peers, each as its documentation starts it: the same ONNX files in the same ONNX Runtime with one thread and no spinning.

Triton is the real server (2.51, from nvidia-pytriton's wheel) with its Python back end, which is all that wheel has: its own ONNX Runtime
back end in C++ would be faster.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.inference.environments import Environment, environment
from benchmarks.inference.processes import Process
from benchmarks.inference.server import Server, free_port

PROGRAMS = Path(__file__).parent / "programs"
Models = Mapping[str, Path]
"""Model files by the name they are served under."""


class Peer(Server):
    """A server in an environment of its own."""

    key = ""

    def __init__(self, room: Path, models: Models, home: Environment) -> None:
        super().__init__(room)
        self.models = models
        self.home = home

    def ready_paths(self) -> Sequence[str]:
        return ["/v2/health/ready", *(f"/v2/models/{name}/ready" for name in self.models)]

    def program(self, name: str, *words: object) -> Sequence[str]:
        """One of ours, run with the peer's Python."""
        return [str(self.home.python), str(PROGRAMS / name), *map(str, words)]


class Triton(Peer):
    """tritonserver 2.51, Python back end, models loaded and reloaded on request. ``grpc_port`` serves the same."""

    title = "Triton (Python back end)"
    key = "triton"

    def __init__(self, room: Path, models: Models, home: Environment) -> None:
        super().__init__(room, models, home)
        self.grpc_port: int = free_port()

    def command(self) -> Sequence[str]:
        for name, file in self.models.items():
            self._lay_out(name, file)
        package = self.home.site / "pytriton" / "tritonserver"
        backend = self.room / "backends" / "python"
        backend.mkdir(parents=True)
        for part in ("backends/python/libtriton_python.so", "backends/python/triton_python_backend_utils.py"):
            (backend / Path(part).name).symlink_to(package / part)
        shutil.copy2(package / "python_backend_stubs/3.11/triton_python_backend_stub", backend)
        words = [package / "bin/tritonserver", f"--model-repository={self.room / 'models'}", f"--backend-directory={backend.parent}"]
        words += ["--model-control-mode=explicit", *(f"--load-model={name}" for name in self.models), "--http-address=127.0.0.1"]
        words += [f"--http-port={self.port}", f"--grpc-port={self.grpc_port}", "--allow-metrics=false", "--log-info=false"]
        return list(map(str, words))

    def _lay_out(self, name: str, file: Path) -> None:
        version = self.room / "models" / name / "1"
        version.mkdir(parents=True)
        shutil.copyfile(PROGRAMS / "triton_model.py", version / "model.py")
        _copy_model(file, version)
        (version.parent / "config.pbtxt").write_text(_config(name, file))

    def environment(self) -> Mapping[str, str]:
        program = self.home.python.parent
        return {
            "LD_LIBRARY_PATH": str(self.home.site / "nvidia_pytriton.libs"),
            "PYTHONPATH": str(self.home.site),
            "PATH": f"{program}:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(program.parent),
        }

    def model_processes(self) -> list[Process]:
        return [process for process in self.processes() if process.name.startswith("triton_python_b")]

    def reload(self, model: str) -> None:
        """Triton loads again only what has changed on the disk."""
        for file in (self.room / "models" / model / "1").iterdir():
            os.utime(file)
        super().reload(model)


class MlServer(Peer):
    """MLServer 1.7.1 with a runtime of ours, ``workers`` processes beside its own (its default is one; 0 runs models in the server)."""

    title = "MLServer, default"
    key = "mlserver"
    binary = False
    workers = 1

    def command(self) -> Sequence[str]:
        shutil.copyfile(PROGRAMS / "mlserver_model.py", self.room / "mlserver_model.py")
        self.grpc_port = free_port()
        settings = {"host": "127.0.0.1", "http_port": self.port, "grpc_port": self.grpc_port, "metrics_port": free_port(), "debug": False}
        (self.room / "settings.json").write_text(json.dumps({**settings, "parallel_workers": self.workers}))
        for name, file in self.models.items():
            folder = self.room / name
            folder.mkdir()
            _copy_model(file, folder)
            told = {"name": name, "implementation": "mlserver_model.OnnxModel", "parameters": {"uri": "./model.onnx"}}
            (folder / "model-settings.json").write_text(json.dumps(told))
        return [str(self.home.python.parent / "mlserver"), "start", str(self.room)]

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(self.room)}

    def model_processes(self) -> list[Process]:
        """With workers, what the server forked; their helper processes of multiprocessing are none."""
        everyone = self.processes()
        children = [process for process in everyone if process.parent == self.process.pid]
        return sorted(children, key=lambda process: process.pid)[-self.workers :] if self.workers else list(everyone[:1])


class MlServerAlone(MlServer):
    title = "MLServer, no workers"
    workers = 0


class KServe(Peer):
    title = "KServe SDK 0.21"
    key = "kserve"

    def command(self) -> Sequence[str]:
        self.grpc_port = free_port()
        return self.program("kserve_app.py", self.port, self.grpc_port, json.dumps({k: str(v) for k, v in self.models.items()}))

    def model_processes(self) -> list[Process]:
        return list(self.processes()[:1])


class FastApi(Peer):
    """uvicorn with httptools and uvloop, orjson, one hand-written route: what a person builds who wants just this."""

    title = "FastAPI"
    key = "fastapi"

    def command(self) -> Sequence[str]:
        return self.program("fastapi_app.py", self.port, json.dumps({k: str(v) for k, v in self.models.items()}))

    def model_processes(self) -> list[Process]:
        return list(self.processes()[:1])


ALL: tuple[type[Peer], ...] = (Triton, MlServer, MlServerAlone, KServe, FastApi)


@contextmanager
def peer(kind: type[Peer], room: Path, models: Models) -> Iterator[Peer | str]:
    """The peer, started; or why it is not at hand. Raises ServerFailed when it is installed and does not start."""
    home = environment(kind.key)
    if isinstance(home, str):
        yield home
        return
    with kind(room, models, home) as server:
        yield server


def _copy_model(file: Path, folder: Path) -> None:
    shutil.copyfile(file, folder / "model.onnx")
    weights = file.with_suffix(".weights")
    if weights.is_file():
        shutil.copyfile(weights, folder / weights.name)


def _config(name: str, file: Path) -> str:
    import onnx

    graph = onnx.load(str(file), load_external_data=False).graph
    tensors = []
    for word, values in (("input", graph.input), ("output", graph.output)):
        dims = ", ".join(str(d.dim_value) for d in values[0].type.tensor_type.shape.dim)
        tensors.append(f'{word} [ {{ name: "{values[0].name}" data_type: TYPE_FP32 dims: [ {dims} ] }} ]')
    return "\n".join(
        [f'name: "{name}"', 'backend: "python"', "max_batch_size: 0", *tensors, "instance_group [ { kind: KIND_CPU count: 1 } ]", ""]
    )
