"""The temporary folder of one build and the questions it puts to child processes about models in it. Several may be asked at once."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.calibrate.collect import instrumented
from converters.calibrate.observe import from_tree, plan_for
from converters.calibrate.ranges import Calibration
from converters.errors import InputError, PassError
from converters.gather.said import SamplesSaid, as_tree
from converters.inference import as_json, spec_of
from converters.isolate import TIMEOUT_S, JobServer, answer_of, run_job
from converters.model import Graph, to_bytes
from converters.placing import ModelFiles, placed
from converters.prune.pruned import Pruned
from converters.prune.read import read_pruned
from converters.state import as_tree as state_tree
from edge_agent.bundle.manifest import StateSpec, Step
from edge_agent.errors import ModelError
from edge_agent.values import TensorSpec

VET_TIMEOUT_S = 120.0
"""The passes take seconds on networks of hundreds of MiB; shape inference can be made to take hours."""
CHECK_TIMEOUT_S = 30.0
APART = ("converters", "device_profiles", "edge_agent")
"""Packages that the child in another environment may import; that environment has none of ours."""


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """A model that loaded and ran: in which runtime, with which tensors, and every output (samples first) by name.
    ``bytes`` are of all its files, ``bytes_beside`` those of weights that lie beside the model's."""

    path: Path
    runtime: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    values: dict[str, Any]
    bytes: int = 0
    bytes_beside: int = 0


class Workshop:
    """Works in ``folder`` with the samples in ``samples``, the declared ``preprocess`` steps and ``state``, and ``sizes`` of inputs that
    files leave free. Models run as they would be packed, with their weights where ``weights`` puts them (see
    :func:`~converters.placing.placed`). Jobs run on ``server``, or on one of its own."""

    def __init__(
        self,
        folder: Path,
        samples: Path,
        preprocess: tuple[Step, ...],
        *,
        state: StateSpec | None = None,
        sizes: Mapping[str, Sequence[int]] | None = None,
        weights: str = "inside",
        server: JobServer | None = None,
    ) -> None:
        self._folder = folder
        self._weights = weights
        self._server = server or JobServer()
        self._common = {
            "samples": str(samples.resolve()),
            "preprocess": [{"op": step.op, "args": dict(step.args)} for step in preprocess],
            "state": state_tree(state),
            "sizes": {name: list(shape) for name, shape in (sizes or {}).items()},
        }

    def stop(self) -> None:
        """Ends every job that runs, in whichever thread it was asked for; no other can be asked for after that."""
        self._server.close()

    def vet(self, model: Path, *, passes: bool) -> None:
        """Raises :class:`InputError` for a model file that ONNX's own native code refuses or crashes on: it runs in our process next."""
        try:
            self._do(self.room("vet"), {"kind": "vet", "what": str(model), "model": str(model), "passes": passes}, timeout_s=VET_TIMEOUT_S)
        except (PassError, ModelError) as error:
            named = str(error).startswith(str(model))
            raise InputError(str(error) if named else f"{model}: {error}") from None

    def check_passes(self, graph: Graph) -> None:
        """Raises :class:`PassError` naming a pass that changes what ``graph`` computes. Made-up inputs can crash or hold up a runtime: that
        says nothing of the passes, and real samples follow."""
        room = self.room("passes")
        model = room / "before.onnx"
        model.write_bytes(to_bytes(graph))
        with contextlib.suppress(ModelError, InputError):
            self._do(room, {"kind": "check_passes", "what": "the passes", "model": str(model)}, timeout_s=CHECK_TIMEOUT_S)

    def specs(self, data: bytes | ModelFiles, extension: str) -> tuple[TensorSpec, ...]:
        """The inputs of a model file, as its runtime sees them."""
        return self.ends(data, extension)[0]

    def ends(self, data: bytes | ModelFiles, extension: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Its inputs and outputs."""
        room = self.room("specs")
        path, _ = self._put(room, "original", data, extension)
        answer = self._do(room, {"kind": "specs", "what": "the source", "model": str(path)})
        return _specs(answer["inputs"]), _specs(answer["outputs"])

    def collect(self, given: Path, said: SamplesSaid, classes: Sequence[str], inputs: Sequence[TensorSpec]) -> None:
        """Gathers samples that are tables, pictures or sounds into this workshop's samples file. Raises :class:`InputError`."""
        job = {"kind": "collect", "what": str(given), "from": str(given), "said": as_tree(said), "classes": list(classes)}
        try:
            self._do(self.room("collect"), {**job, "inputs": [as_json(spec) for spec in inputs]})
        except ModelError as error:
            raise InputError(f"{given}: {str(error).removeprefix(f'{given}: ')}") from None

    def calibrate(self, graph: Graph, rows: tuple[int, ...], calibrator: str = "minmax") -> Calibration:
        """Ranges of every float tensor of ``graph`` over the sample ``rows``, outliers left out, and the means that layers read."""
        room = self.room("calibrate")
        model = room / "instrumented.onnx"
        model.write_bytes(instrumented(graph))
        plan = plan_for(graph)
        inputs = [as_json(spec) for spec in graph.inputs]
        job = {"kind": "calibrate", "what": "calibration", "model": str(model), "rows": rows, "plan": asdict(plan)}
        answer = self._do(room, {**job, "inputs": inputs, "calibrator": calibrator})
        with np.load(room / "means.npz") as held:
            means = {name: held[f"mean_{i}"] for i, name in enumerate(plan.axes)}
        return from_tree(answer, means)

    def prune(self, graph: Graph, rows: Sequence[int], shares: Sequence[float]) -> tuple[Pruned, ...]:
        """``graph`` (after the passes) with fewer channels, one for each of ``shares`` of its cost, recovered from the sample ``rows``.

        Raises :class:`~edge_agent.errors.ModelError` when nothing in it can be pruned.
        """
        room = self.room("prune")
        (room / "graph.onnx").write_bytes(to_bytes(graph))
        job = {"kind": "prune", "what": "pruning", "rows": list(rows), "shares": list(shares)}
        return read_pruned(room, self._do(room, job, timeout_s=TIMEOUT_S * max(len(shares), 1)))

    def prove(self, what: str, data: bytes | ModelFiles, extension: str, rows: Sequence[int]) -> Proof:
        """Loads and runs a model file as the device will. Raises ModelError when it does not load, run or survive."""
        room = self.room("infer")
        path, files = self._put(room, what, data, extension)
        answer = self._do(room, {"kind": "infer", "what": what, "model": str(path), "rows": list(rows)})
        return _proof(path, files, room, answer)

    def prove_in(self, python: Path, what: str, data: bytes | ModelFiles, extension: str, rows: Sequence[int]) -> Proof:
        """As :meth:`prove`, in the runtime that the interpreter ``python`` of another environment has."""
        room = self.room("apart")
        path, files = self._put(room, what, data, extension)
        tree = self._do(room, {"kind": "specs", "what": what, "model": str(path)})
        named = self._do(room, {"kind": "feeds", "what": what, "rows": list(rows), "inputs": tree["inputs"]})
        job = {"what": what, "model": str(path), "rows": list(rows), "state": self._common["state"], "sizes": self._common["sizes"]}
        (room / "job.json").write_text(json.dumps({**job, **named}))
        (room / "result.json").unlink()
        packages = room / "packages"  # links, since the folder that ours are installed in has a numpy for this interpreter only
        packages.mkdir()
        for name in APART:
            (packages / name).symlink_to(Path(__file__).resolve().parent.parent / name)
        environment = {"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}
        command = [str(python), "-m", "converters.prove_apart", str(room)]
        answer = answer_of(room, what, TIMEOUT_S, self._server, command=command, environment=environment)
        for feed in room.glob("feed_*.npy"):
            feed.unlink()
        return _proof(path, files, room, answer)

    def time(self, models: Sequence[Path], rows: Sequence[int], *, budget_s: float) -> list[list[float]]:
        """Microseconds of an inference, for each model and round, measured in turn on one thread."""
        job = {"kind": "time", "what": "timing", "models": [str(path) for path in models], "rows": list(rows), "budget_s": budget_s}
        answer = self._do(self.room("time"), job)
        return [[float(us) for us in rounds] for rounds in answer["rounds_us"]]

    def room(self, kind: str) -> Path:
        """A folder of its own for a job and what it leaves."""
        return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self._folder))

    def _put(self, room: Path, what: str, data: bytes | ModelFiles, extension: str) -> tuple[Path, ModelFiles]:
        """The model in ``room``, and what of it lies there; files that were divided already stay as they are."""
        files = placed(data, extension, self._weights) if isinstance(data, bytes) else data
        path = room / f"{what.replace(' ', '-')}.{extension}"
        files.write(path)
        return path, files

    def _do(self, room: Path, job: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        return run_job(room, {**self._common, **job}, timeout_s=timeout_s, server=self._server)


def _proof(path: Path, files: ModelFiles, room: Path, answer: Mapping[str, Any]) -> Proof:
    """What the job in ``room`` found; its outputs are taken out of the folder, which may lie in memory."""
    outputs = _specs(answer["outputs"])
    left = room / "outputs.npz"
    with np.load(left) as held:
        values = {spec.name: held[f"output_{i}"] for i, spec in enumerate(outputs)}
    left.unlink()
    return Proof(path, answer["runtime"], answer["version"], _specs(answer["inputs"]), outputs, values, files.bytes, files.bytes_beside)


def _specs(trees: Sequence[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(spec_of(tree) for tree in trees)
