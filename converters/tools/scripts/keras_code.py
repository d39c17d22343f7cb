"""What in a Keras configuration runs code, told from the configuration alone. Only the standard library: also read outside of Keras."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LAMBDA = frozenset(("Lambda", "__lambda__"))
"""Python bytecode inside the file."""
OUTSIDE = frozenset(("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"))
"""Layers that hold, or fetch from another place, a program of their own."""
_PARTS = frozenset(
    (
        "activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics", "models", "ops", "optimizers",
        "regularizers", "quantizers", "random", "engine", "src", "saving", "mixed_precision",
    )
)  # fmt: skip
_MAX_DEPTH = 64


class Refused(Exception):
    """A file that is not taken, with the reason."""


def code_in(config: Any) -> list[str]:
    """What in ``config`` is or loads code, each named by its layer."""
    return sorted({said for node, layer in _nodes(config, "", 0) if (said := _says(node, layer))})


def foreign_in(config: Any) -> list[str]:
    """Classes and functions that the file names and does not hold: they live in modules that are not Keras's own."""
    return sorted({said for node, layer in _nodes(config, "", 0) if (said := _foreign(node, layer))})


def check(config: Any, *, trust: bool) -> None:
    """Raises :class:`Refused` for code without ``trust``, and for names from outside of Keras always."""
    code = code_in(config)
    if code and not trust:
        raise Refused(
            f"holds code that would be run to read it ({'; '.join(code[:5])}); give --trust if you know where the file comes from"
        )
    foreign = foreign_in(config)
    if foreign:
        raise Refused(
            f"needs code that is not in it ({'; '.join(foreign[:5])}); export the model as a SavedModel folder (model.export(folder)), "
            "which holds the computation itself"
        )


def _nodes(config: Any, layer: str, depth: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Every object of the configuration that names a class, with the name of the layer it is in."""
    if depth > _MAX_DEPTH:
        raise Refused("its configuration is nested too deeply")
    if isinstance(config, dict):
        inner = config.get("config")
        named = str(inner.get("name") or layer) if isinstance(inner, dict) else layer
        if "class_name" in config:
            yield config, named
        for value in config.values():
            yield from _nodes(value, named, depth + 1)
    elif isinstance(config, list):
        for value in config:
            yield from _nodes(value, layer, depth + 1)


def _says(node: dict[str, Any], layer: str) -> str:
    kind = str(node["class_name"]).rpartition(">")[2]
    if kind in LAMBDA:
        return f"Lambda layer {layer}" if layer else "a Lambda"
    return f"{kind} layer {layer}" if kind in OUTSIDE else ""


def _foreign(node: dict[str, Any], layer: str) -> str:
    """Keras 3 writes the module beside the class; Keras 2 wrote custom classes as ``package>Name``."""
    kind, module = str(node["class_name"]), node.get("module")
    registered = node.get("registered_name")
    where = f" in layer {layer}" if layer else ""
    if ">" in kind or (isinstance(registered, str) and ">" in registered):
        return f"{kind if '>' in kind else registered}{where}"
    if module in (None, "", "builtins", "keras", "tensorflow.python.trackable.data_structures"):
        return "" if module != "builtins" or kind not in ("function",) else f"function {node.get('config')}{where}"
    parts = str(module).split(".")
    if parts[0] == "keras" and parts[1] in _PARTS:
        return ""
    return f"{module}.{kind}{where}"
