"""One model version as a pipeline uses it: its compiled steps, what it remembers, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.bundle.manifest import Manifest, fed_inputs, read_outputs
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.clock import Clock
from edge_agent.inference.doorbell import LinkFds
from edge_agent.inference.layout import layout_for
from edge_agent.inference.link import Answer, AskingEnd
from edge_agent.inference.wire import Packet, close_all
from edge_agent.pipeline.postprocess import Postprocess, compile_postprocess
from edge_agent.pipeline.preprocess import Preprocess, compile_preprocess
from edge_agent.pipeline.state import ModelState
from edge_agent.ports import Runtime
from edge_agent.runtimes.options import options_from_json


@dataclass(frozen=True, slots=True)
class Version:
    """What of a version outlives its worker: steps that take window values and output arrays, and the ``state`` of this stream."""

    digest: str
    manifest: Manifest
    preprocess: Preprocess
    postprocess: Postprocess
    state: ModelState

    def label_index(self, label: str | None) -> int | None:
        """Number of ``label`` among the manifest's labels; without labels a label is its number. ``None`` when there is none."""
        if label is None:
            return None
        labels = self.manifest.labels
        if not labels:
            return int(label) if label.isdigit() else None
        return labels.index(label) if label in labels else None


class InlineEnd:
    """The model in this very process."""

    response_fd = -1

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._asked = 0

    def room(self) -> dict[str, Any]:
        return {}

    def run(self, arrays: Mapping[str, Any]) -> Answer:
        """Raises ModelError."""
        started_ns = self._clock.monotonic_ns()
        outputs = self._runtime.run(arrays)
        self._asked += 1
        return Answer(self._asked, outputs, (self._clock.monotonic_ns() - started_ns) / 1000)

    def close(self) -> None:
        self._runtime.close()


@dataclass(frozen=True, slots=True)
class ServedModel:
    """``link`` numbers the connection for the engine."""

    link: int
    version: Version
    end: AskingEnd | InlineEnd
    room_is_whole: bool
    """Every input has a fixed shape, so preprocessing can write all of them where the model reads them."""


def connect(packet: Packet, before: Version | None, clock: Clock) -> ServedModel:
    """The model of a ``link``, ``inline`` or ``shadow`` message; ``before`` is the version this stream used last, if it used one.

    Raises BundleError for steps that cannot be compiled, ModelError for a file that does not load; then its descriptors are closed.
    """
    message = packet.message
    try:
        same = before is not None and before.digest == message["digest"]
        version = before if before is not None and same else _version(message, before)
        end: AskingEnd | InlineEnd
        if message["op"] == "inline":
            end = InlineEnd(_loaded(version.manifest, message), clock)
        else:
            end = AskingEnd(layout_for(version.manifest, message["slots"]), LinkFds(*packet.fds))
    except BaseException:
        close_all(packet.fds)
        raise
    fixed = all(None not in spec.shape for spec in version.manifest.inputs)
    return ServedModel(message["link"], version, end, fixed and isinstance(end, AskingEnd))


def _version(message: Mapping[str, Any], before: Version | None) -> Version:
    manifest = from_json(message["manifest"].encode())
    preprocess = compile_preprocess(manifest.preprocess, fed_inputs(manifest))
    postprocess = compile_postprocess(manifest.postprocess, read_outputs(manifest), manifest.labels, fed_inputs(manifest))
    if before is not None:
        postprocess.adopt(before.postprocess)
    state = ModelState(manifest) if before is None else before.state.carried_to(manifest)
    return Version(message["digest"], manifest, preprocess, postprocess, state)


def _loaded(manifest: Manifest, message: Mapping[str, Any]) -> Runtime:
    from edge_agent.runtimes.choose import load_runtime

    return load_runtime(manifest, Path(message["folder"]), options=options_from_json(message["options"]))
