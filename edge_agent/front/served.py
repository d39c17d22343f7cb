"""One version of a model as the API serves it: what it takes and gives, and where that lies in a link's memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.bundle.manifest import Manifest
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.inference.layout import LinkLayout, Place, layout_of
from edge_agent.values import DTYPES

MOST_PLANS = 256
JSON_BYTES = 256 << 10
JSON_BYTES_EACH = 32
"""What a request may have as JSON, and more for each value that the model takes: a number is written in 25 at most. What is larger
is no request of this model, and would keep everybody waiting while it is parsed."""


@dataclass(slots=True, eq=False)
class Served:
    """``number`` counts the versions of this model since the API began, for clients to which a version is a number.

    ``plans`` are what parsed requests left behind, by the bytes they were parsed from.
    """

    model: str
    version: str
    digest: str
    number: int
    manifest: Manifest
    layout: LinkLayout
    inputs: Mapping[str, Place]
    outputs: Mapping[str, Place]
    plans: dict[bytes, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    def remember(self, key: bytes, plan: Any) -> None:
        """Keep ``plan`` for requests with the same bytes."""
        if len(self.plans) >= MOST_PLANS:
            self.plans.clear()
        self.plans[key] = plan

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made the first time it is asked for."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def most_json_bytes(self) -> int:
        """How long the JSON of a request may be."""
        values = sum(place.capacity_bytes // DTYPES[place.dtype] for place in self.layout.inputs)
        return JSON_BYTES + JSON_BYTES_EACH * values

    def initial(self) -> dict[str, Any]:
        """The state inputs of a model with state as they are before the first window, by name: what a client leaves out is this."""
        arrays: dict[str, Any] = self.once("initial", self._initial)
        return arrays

    def _initial(self) -> dict[str, Any]:
        from edge_agent.pipeline.state import initial_array

        state, specs = self.manifest.state, {spec.name: spec for spec in self.manifest.inputs}
        return {pair.input: initial_array(specs[pair.input], pair) for pair in state.pairs} if state else {}

    def is_called(self, version: str) -> bool:
        """Whether a client that says ``version`` means this one."""
        return not version or version in (self.version, str(self.number))


def served_from(model: str, digest: str, manifest_json: str, number: int, slots: int) -> Served:
    """The version that a message of the engine describes. Raises BundleError."""
    manifest = from_json(manifest_json.encode())
    layout = layout_of(manifest.inputs, manifest.outputs, slots=slots)
    return Served(
        model,
        manifest.version,
        digest,
        number,
        manifest,
        layout,
        {place.name: place for place in layout.inputs},
        {place.name: place for place in layout.outputs},
    )
