"""How a model is to be run: what the profile of the board, the configuration or the trial of options decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from device_profiles.schema import RuntimeLimits

Pairs = tuple[tuple[str, str], ...]
"""Options of a provider or delegate as (key, value), in the words of its own documentation."""


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider of ONNX Runtime (``CUDAExecutionProvider``) and its options."""

    name: str
    options: Pairs = ()


@dataclass(frozen=True, slots=True)
class Delegate:
    """A TensorFlow Lite delegate in a shared library (``libedgetpu.so.1``) and its options."""

    path: str
    options: Pairs = ()


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """``threads`` work inside one inference. ``spinning`` threads wait for the next one by turning on the spot: faster, at a core each.

    ``arena`` keeps the memory of activations between inferences. ``prepack`` lays weights out anew for this processor, in memory of their
    own; without it weights that lie in a file beside the model stay mapped from that file: no copy, shared by all who map it.
    ``providers`` and ``delegates`` come before the processor, the first first. Where one is not to be had, ``fallback`` says that the
    processor does its work (and the runtime's ``notes`` tell so); else that is an error. TensorFlow Lite knows threads and delegates only.
    """

    threads: int = 1
    spinning: bool = False
    arena: bool = True
    prepack: bool = True
    providers: tuple[Provider, ...] = ()
    delegates: tuple[Delegate, ...] = ()
    fallback: bool = False


def options_for(limits: RuntimeLimits | None, threads: int = 1) -> RuntimeOptions:
    """What the board's profile asks for; for None (a profile without this runtime) the processor alone."""
    if limits is None:
        return RuntimeOptions(threads)
    return RuntimeOptions(
        threads,
        providers=tuple(Provider(helper.name, helper.options) for helper in limits.providers),
        delegates=tuple(Delegate(helper.name, helper.options) for helper in limits.delegates),
        fallback=limits.fallback,
    )


def options_to_json(options: RuntimeOptions) -> dict[str, Any]:
    """JSON-ready, for :func:`options_from_json`."""
    return asdict(options)


def options_from_json(node: Mapping[str, Any]) -> RuntimeOptions:
    """What :func:`options_to_json` made. Raises TypeError, KeyError or ValueError for anything else."""
    values = dict(node)
    values["providers"] = tuple(Provider(p["name"], _pairs(p["options"])) for p in values.get("providers", ()))
    values["delegates"] = tuple(Delegate(d["path"], _pairs(d["options"])) for d in values.get("delegates", ()))
    return RuntimeOptions(**values)


def _pairs(node: Any) -> Pairs:
    return tuple((str(key), str(value)) for key, value in node)
