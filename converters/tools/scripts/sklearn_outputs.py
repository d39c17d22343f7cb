"""What skl2onnx gives besides scores is taken away: labels are made from scores on the device, text cannot be sent."""

from __future__ import annotations

from typing import Any

OUTPUT = "scores"


class Refused(Exception):
    """A model that cannot be taken over, with the reason."""


def scores_only(proto: Any, classes: int, sign: float = 0.0) -> Any:
    """A copy of ``proto`` with one float output (rows, width) called ``scores``.

    ``sign`` says that the first score is a distance from the border between two classes, and on which side (1: the second class is above,
    -1: the first is); each class then has a score.
    """
    from onnx import ModelProto, TensorProto, helper

    made = ModelProto()
    made.CopyFrom(proto)
    found = [value for value in made.graph.output if value.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE)]
    if not found:
        raise Refused("its ONNX translation has no output of numbers")
    value = found[-1] if classes else found[0]
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    width, last = dims[-1] if len(dims) == 2 else 0, value.name
    if last == OUTPUT:
        last = _renamed(made, last, "scores_inside")
    if value.type.tensor_type.elem_type == TensorProto.DOUBLE:
        last = _added(made, "Cast", last, "scores_float", to=TensorProto.FLOAT)
    if sign:
        first = _added(made, "Gather", last, "scores_first", _constant(made, "scores_column", [0], "int64"), axis=1)
        last = _added(made, "Mul", first, "scores_both", _constant(made, "scores_signs", [[-sign, sign]], "float32"))
        width = 2
    made.graph.node.append(helper.make_node("Identity", [last], [OUTPUT], name="scores"))
    del made.graph.output[:]
    made.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, width or classes or 1]))
    _prune(made)
    _settle(made)
    return made


def _added(proto: Any, op: str, source: str, result: str, *more: str, **attributes: Any) -> str:
    from onnx import helper

    proto.graph.node.append(helper.make_node(op, [source, *more], [result], name=result, **attributes))
    return result


def _renamed(proto: Any, old: str, new: str) -> str:
    """Some exports call a tensor of theirs as ours is called."""
    for node in proto.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
    return new


def _constant(proto: Any, name: str, values: Any, dtype: str) -> str:
    import numpy as np
    from onnx import numpy_helper

    proto.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype), name))
    return name


def _prune(proto: Any) -> None:
    """Nodes and constants that the scores do not follow from."""
    wanted = {OUTPUT}
    kept = []
    for node in reversed(proto.graph.node):
        if wanted & set(node.output):
            wanted.update(node.input)
            for attribute in node.attribute:
                wanted.update(name for inner in attribute.g.node for name in inner.input)
            kept.append(node)
    constants = [tensor for tensor in proto.graph.initializer if tensor.name in wanted]
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(kept[::-1])
    proto.graph.initializer.extend(constants)


def _settle(proto: Any) -> None:
    """Each operator set once: the exporter is known to import one twice."""
    held: dict[str, int] = {}
    for entry in proto.opset_import:
        held[entry.domain] = max(held.get(entry.domain, 0), entry.version)
    del proto.opset_import[:]
    for domain, version in sorted(held.items()):
        proto.opset_import.add(domain=domain, version=version)
