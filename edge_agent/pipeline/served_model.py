"""One model version as a pipeline uses it: its compiled steps and the link to its worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.bundle.manifest import Manifest
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.inference.doorbell import LinkFds
from edge_agent.inference.layout import layout_for
from edge_agent.inference.link import AskingEnd
from edge_agent.inference.wire import Packet, close_all
from edge_agent.pipeline.postprocess import Verdict, compile_postprocess
from edge_agent.pipeline.preprocess import compile_preprocess


@dataclass(frozen=True, slots=True)
class ServedModel:
    """``link`` numbers the connection for the engine; ``preprocess`` takes window values, ``postprocess`` output arrays."""

    link: int
    digest: str
    manifest: Manifest
    preprocess: Callable[[Any], dict[str, Any]]
    postprocess: Callable[[Mapping[str, Any]], Verdict]
    end: AskingEnd

    def label_index(self, label: str | None) -> int | None:
        """Number of ``label`` among the manifest's labels; without labels a label is its number. ``None`` when there is none."""
        if label is None:
            return None
        labels = self.manifest.labels
        if not labels:
            return int(label)
        return labels.index(label) if label in labels else None


def connect(packet: Packet) -> ServedModel:
    """The model of a ``link`` message. Raises BundleError for steps that cannot be compiled; then its descriptors are closed."""
    message = packet.message
    try:
        manifest = from_json(message["manifest"].encode())
        preprocess = compile_preprocess(manifest.preprocess, manifest.inputs)
        postprocess = compile_postprocess(manifest.postprocess, manifest.outputs, manifest.labels)
        end = AskingEnd(layout_for(manifest), LinkFds(*packet.fds))
    except BaseException:
        close_all(packet.fds)
        raise
    return ServedModel(message["link"], message["digest"], manifest, preprocess, postprocess, end)
