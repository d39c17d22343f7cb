"""What Keras 2 wrote into HDF5 files and Keras 3 does not read by itself: options that are gone, and TensorFlow calls kept as layers."""

from __future__ import annotations

import operator
from typing import Any

from converters.tools.scripts.keras_code import Refused

_CALLS = frozenset(("math", "nn", "reshape", "transpose", "concat", "stack", "squeeze", "expand_dims", "clip_by_value", "cast", "identity"))
"""First words of the TensorFlow functions that are called by name: those that compute, none that reads or writes."""
_OPERATORS = frozenset(("add", "sub", "mul", "truediv", "neg", "pow", "matmul"))


def older_layers() -> dict[str, Any]:
    """Classes by the name Keras 2 gave them."""
    import keras

    def without_groups(base: Any) -> Any:
        def first(layer: Any, **options: Any) -> None:
            options.pop("groups", None)  # always 1 where Keras 2 wrote it
            base.__init__(layer, **options)

        return type(base.__name__, (base,), {"__init__": first})

    class TFOpLambda(keras.layers.Layer):  # type: ignore[misc]
        """A TensorFlow function by name, such as ``math.multiply``: an arithmetic sign in the code that made the model."""

        def __init__(self, function: str, **options: Any) -> None:
            super().__init__(**options)
            self._function = _function(function)

        def call(self, *arguments: Any, **named: Any) -> Any:
            named.pop("name", None)
            return self._function(*arguments, **named)

    plain = {name: without_groups(getattr(keras.layers, name)) for name in ("DepthwiseConv2D", "Conv2DTranspose")}
    return {**plain, "TFOpLambda": TFOpLambda}


def nested_nodes(config: dict[str, Any]) -> bool:
    """Wraps the calls of :class:`TFOpLambda`, which Keras 2 wrote one list short of all others; whether there were any."""
    found = False
    for layer in config.get("config", {}).get("layers", []) if isinstance(config.get("config"), dict) else []:
        if isinstance(layer, dict) and layer.get("class_name") == "TFOpLambda":
            nodes = layer.get("inbound_nodes", [])
            layer["inbound_nodes"] = [[node] if node and isinstance(node[0], str) else node for node in nodes]
            found = True
    return found


def _function(name: str) -> Any:
    import tensorflow as tf

    first, _, rest = name.partition(".")
    if first == "__operators__" and rest in _OPERATORS:
        return lambda x, y=None, **_: getattr(operator, rest)(x) if y is None else getattr(operator, rest)(x, y)
    if first not in _CALLS:
        raise Refused(f"calls tf.{name}, which is not taken from a file; export it as a SavedModel folder with the TensorFlow that made it")
    found = tf
    for part in name.split("."):
        found = getattr(found, part)
    return found
