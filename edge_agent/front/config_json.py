"""A model in the words of Triton's ModelConfig and of the protocol's model metadata."""

from __future__ import annotations

from typing import Any

from edge_agent.front.datatypes import V2_OF, config_type
from edge_agent.front.served import Served
from edge_agent.front.v2_tensors import v2_shape
from edge_agent.values import TensorSpec

_PLATFORMS = {"onnx": ("onnxruntime_onnx", "onnxruntime"), "tflite": ("tensorflowlite_tflite", "tensorflowlite")}


def model_metadata(served: Served) -> dict[str, Any]:
    """Name, versions, platform, inputs and outputs; -1 for a free dimension."""
    manifest = served.manifest
    return {
        "name": served.model,
        "versions": [served.version],
        "platform": _PLATFORMS[manifest.runtime.name][0],
        "inputs": [_tensor(spec) for spec in manifest.inputs],
        "outputs": [_tensor(spec) for spec in manifest.outputs],
    }


def model_config(served: Served) -> dict[str, Any]:
    """What perf_analyzer and others read before they ask. Shapes are whole: the first dimension is not a batch that may be left out."""
    manifest = served.manifest
    platform, backend = _PLATFORMS[manifest.runtime.name]
    return {
        "name": served.model,
        "platform": platform,
        "backend": backend,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [{**_dims(spec), "format": "FORMAT_NONE"} for spec in manifest.inputs],
        "output": [_dims(spec) for spec in manifest.outputs],
        "instance_group": [{"name": served.model, "kind": "KIND_CPU", "count": 1}],
        "default_model_filename": manifest.model_file.path,
        "parameters": {"version": {"string_value": served.version}, "digest": {"string_value": served.digest}},
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": V2_OF[spec.dtype], "shape": v2_shape(spec.shape)}


def _dims(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "data_type": config_type(spec.dtype), "dims": v2_shape(spec.shape)}
