"""A SavedModel to ONNX, inside TensorFlow's own environment: the folder ``model`` in, ``model.onnx`` and reference answers out.

The graph is read as TensorFlow 1 read it: Keras's objects beside it, whose classes may be gone, are not needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.tools.scripts.keras_code import Refused
from converters.tools.scripts.onnx_names import finish
from converters.tools.scripts.reference import inputs_for, save
from converters.tools.scripts.steady import steady

OPSET = 17
_ACTS = frozenset(("PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "LoadDataset", "SaveDataset"))
"""Operators that run Python, or read and write files of their choice."""


def main(folder: Path, job: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    import tensorflow as tf

    _check(folder / "model", trust=bool(job["trust"]))
    tell(f"TensorFlow {tf.__version__}: reading the model")
    tf.compat.v1.set_random_seed(int(job["seed"]))
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        signature = _signature(tf.compat.v1.saved_model.load(session, ["serve"], str(folder / "model")), job.get("signature"))
        inputs, outputs = sorted(signature.inputs.items()), sorted(signature.outputs.items())
        specs = [{"name": name, "dtype": _dtype(info), "shape": _shape(name, info)} for name, info in inputs]
        given, made = [info.name for _, info in inputs], [info.name for _, info in outputs]
        tell("translating to ONNX")
        finish(_translated(session, graph, given, made), specs, [name for name, _ in outputs], folder / "model.onnx")
        tell("asking TensorFlow for reference answers")
        feeds = inputs_for(specs, int(job["seed"]), folder / "given.npz")
        save(folder, specs, feeds, lambda feed: session.run(made, dict(zip(given, feed, strict=True))))
    return {"outputs": [name for name, _ in outputs], "framework": f"TensorFlow {tf.__version__}", "rows": len(feeds)}


def _check(path: Path, *, trust: bool) -> None:
    """Raises Refused for operators that act on this machine, told from the file as data."""
    from tensorflow.core.protobuf import saved_model_pb2

    held = saved_model_pb2.SavedModel()
    try:
        held.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception:
        raise Refused("its saved_model.pb is no SavedModel, or cut short") from None
    found = set()
    for meta in held.meta_graphs:
        for nodes in [meta.graph_def.node, *(function.node_def for function in meta.graph_def.library.function)]:
            found |= {node.op for node in nodes if node.op in _ACTS}
    if found and not trust:
        raise Refused(f"runs Python or touches files ({', '.join(sorted(found))}); give --trust if you know where it comes from")


def _signature(meta: Any, wanted: str | None) -> Any:
    found = {name: signature for name, signature in meta.signature_def.items() if not name.startswith("__") and signature.outputs}
    if wanted is None:
        wanted = "serving_default" if "serving_default" in found or len(found) != 1 else next(iter(found))
    if wanted not in found:
        raise Refused(f"has no signature {wanted!r} (it has {', '.join(sorted(found)) or 'none'}); save it with one: model.export(folder)")
    return found[wanted]


def _dtype(info: Any) -> str:
    import tensorflow as tf

    return str(tf.dtypes.as_dtype(info.dtype).name)


def _shape(name: str, info: Any) -> list[int | None]:
    if info.tensor_shape.unknown_rank:
        raise Refused(f"input {name} has no shape, not even a number of axes; save it with one")
    return [None if dim.size < 0 else int(dim.size) for dim in info.tensor_shape.dim]


def _translated(session: Any, graph: Any, given: list[str], made: list[str]) -> Any:
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_from_session_graph

    steady()
    ends = sorted({name.split(":")[0] for name in made})
    frozen = convert_variables_to_constants_from_session_graph(session, graph.as_graph_def(add_shapes=True), ends)
    _drop_unreached(frozen)
    model, _ = tf2onnx.convert.from_graph_def(frozen, input_names=given, output_names=made, opset=OPSET)
    return model


def _drop_unreached(graph_def: Any) -> None:
    """Functions that no node calls, directly or through others: freezing leaves some that call what is gone."""
    held = {function.signature.name: function for function in graph_def.library.function}
    reached: set[str] = set()
    ahead = [graph_def.node]
    while ahead:
        for name in _called(ahead.pop()):
            if name in held and name not in reached:
                reached.add(name)
                ahead.append(held[name].node_def)
    kept = [function for name, function in held.items() if name in reached]
    del graph_def.library.function[:]
    graph_def.library.function.extend(kept)


def _called(nodes: Any) -> set[str]:
    names = {node.op for node in nodes}
    for node in nodes:
        for value in node.attr.values():
            names |= {value.func.name, *(function.name for function in value.list.func)}
    return names
