"""Keras to ONNX, inside TensorFlow's own environment: ``model.keras`` or ``model.h5`` in, ``model.onnx`` and reference answers out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.tools.scripts.keras_code import Refused, check
from converters.tools.scripts.keras_older import nested_nodes, older_layers
from converters.tools.scripts.onnx_names import finish
from converters.tools.scripts.reference import inputs_for, save
from converters.tools.scripts.steady import steady

OPSET = 17
MAX_CONFIG_BYTES = 64 << 20


def main(folder: Path, job: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(int(job["seed"]))
    tell(f"Keras {keras.__version__}: reading the model")
    model = _load(folder / f"model.{job['format']}", trust=bool(job["trust"]))
    specs = [{"name": name, "dtype": str(tensor.dtype), "shape": list(tensor.shape)} for name, tensor in _named(model)]
    outputs = _output_names(model)
    function = _function(model)
    tell("translating to ONNX")
    finish(_translated(function, specs), specs, outputs, folder / "model.onnx")
    tell("asking Keras for reference answers")
    feeds = inputs_for(specs, int(job["seed"]), folder / "given.npz")
    save(folder, specs, feeds, lambda feed: [value.numpy() for value in function(*(tf.constant(array) for array in feed))])
    return {"outputs": outputs, "framework": f"Keras {keras.__version__}", "rows": len(feeds)}


def _load(path: Path, *, trust: bool) -> Any:
    import keras

    if path.suffix == ".h5":
        _check_h5(path, trust=trust)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not trust, custom_objects=older_layers())
    except Refused:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:400]
        raise Refused(
            f"Keras {keras.__version__} cannot read it ({said}); export it as a SavedModel folder (model.export(folder))"
        ) from None


def _check_h5(path: Path, *, trust: bool) -> None:
    """Reads the configuration as data, before Keras builds anything of it."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except OSError as error:
        raise Refused(f"is no HDF5 file, or a damaged one ({error})") from None
    if text is None:
        raise Refused("holds weights only, without the network; save the whole model (model.save(file.keras))")
    if len(text) > MAX_CONFIG_BYTES:
        raise Refused(f"its configuration has {len(text)} characters; at most {MAX_CONFIG_BYTES} are read")
    config = json.loads(text)
    check(config, trust=trust)
    if nested_nodes(config):
        with h5py.File(path, "r+") as file:  # a copy, made for us
            file.attrs["model_config"] = json.dumps(config)


def _named(model: Any) -> list[tuple[str, Any]]:
    """The inputs with distinct names."""
    if not getattr(model, "inputs", None):
        raise Refused("does not say the shape of its inputs (it was saved before it was built); call it once, and save it again")
    names: list[str] = []
    for tensor in model.inputs:
        name = str(tensor.name).split(":")[0]
        names.append(name if name not in names else f"{name}_{len(names)}")
    return list(zip(names, model.inputs, strict=True))


def _output_names(model: Any) -> list[str]:
    """The names of the layers that the outputs come from, as Keras 2 named outputs."""
    tensors = list(model.outputs)
    names = [str(name) for name in getattr(model, "output_names", None) or ()]
    if len(names) == len(tensors) == len(set(names)):
        return names
    return [str(model.layers[-1].name)] if len(tensors) == 1 else [f"output_{i}" for i in range(len(tensors))]


def _function(model: Any) -> Any:
    import tensorflow as tf

    structure = model._inputs_struct if hasattr(model, "_inputs_struct") else list(model.inputs)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator, unused-ignore]
    def call(*arrays: Any) -> list[Any]:
        given = (
            arrays[0]
            if len(arrays) == 1 and not isinstance(structure, (list, tuple, dict))
            else tf.nest.pack_sequence_as(structure, arrays)
        )
        return list(tf.nest.flatten(model(given, training=False)))

    return tf.function(call)


def _translated(function: Any, specs: list[dict[str, Any]]) -> Any:
    import tensorflow as tf
    import tf2onnx

    steady()
    signature = [tf.TensorSpec(spec["shape"], spec["dtype"], name=f"input_{i}") for i, spec in enumerate(specs)]
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    return model
