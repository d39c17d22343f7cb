"""Tiny models with state: a gated recurrent unit whose state goes in and out, and a TensorFlow Lite counter with a resource variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CHANNELS = 4
UNITS = 3
STATE_IN, STATE_OUT = "h", "hn"


def gru_onnx(path: Path, *, seed: int = 1, units: int = UNITS, free_batch: bool = False) -> Path:
    """x (1, 4) and h (1, ``units``) to y (1, 2) and hn (1, ``units``); y depends on all that came before."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    random = np.random.default_rng(seed)
    constants = [
        numpy_helper.from_array(random.normal(0, 1, (1, 3 * units, CHANNELS)).astype(np.float32), "w"),
        numpy_helper.from_array(random.normal(0, 1, (1, 3 * units, units)).astype(np.float32), "r"),
        numpy_helper.from_array(random.normal(0, 1, (units, 2)).astype(np.float32), "v"),
        numpy_helper.from_array(np.array([0], np.int64), "first"),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "first"], ["x3"]),
        helper.make_node("Unsqueeze", [STATE_IN, "first"], ["h3"]),
        helper.make_node("GRU", ["x3", "w", "r", "", "", "h3"], ["", "hn3"], hidden_size=units),
        helper.make_node("Squeeze", ["hn3", "first"], [STATE_OUT]),
        helper.make_node("MatMul", [STATE_OUT, "v"], ["y"]),
    ]
    batch: int | str = "n" if free_batch else 1
    ends = {"x": CHANNELS, STATE_IN: units, "y": 2, STATE_OUT: units}
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width]) for name, width in ends.items()}
    graph = helper.make_graph(nodes, "gru", [infos["x"], infos[STATE_IN]], [infos["y"], infos[STATE_OUT]], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))
    return path


def counter_tflite(path: Path) -> Path:
    """x (1) to y (1): the sum of all x since its variable was zeroed."""
    path.write_bytes(_Counter().model())
    return path


class _Counter:
    """VAR_HANDLE, READ_VARIABLE, ADD, ASSIGN_VARIABLE, from the schema's object classes."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._s: Any = schema
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators, self._graph.name = [], [], "main"
        self._model = schema.ModelT()
        self._model.version, self._model.buffers, self._model.operatorCodes = 3, [schema.BufferT()], []

    def model(self) -> bytes:
        import flatbuffers

        s = self._s
        x, handle = self._tensor("x", s.TensorType.FLOAT32), self._tensor("handle", s.TensorType.RESOURCE)
        before, y = self._tensor("before", s.TensorType.FLOAT32), self._tensor("y", s.TensorType.FLOAT32)
        kinds = s.BuiltinOptions
        options = s.VarHandleOptionsT()
        options.container, options.sharedName = "", "sum"
        self._operator(s.BuiltinOperator.VAR_HANDLE, [], [handle], kinds.VarHandleOptions, options)
        self._operator(s.BuiltinOperator.READ_VARIABLE, [handle], [before], kinds.ReadVariableOptions, s.ReadVariableOptionsT())
        self._operator(s.BuiltinOperator.ADD, [before, x], [y], kinds.AddOptions, s.AddOptionsT())
        self._operator(s.BuiltinOperator.ASSIGN_VARIABLE, [handle, y], [], kinds.AssignVariableOptions, s.AssignVariableOptionsT())
        self._graph.inputs, self._graph.outputs = [x], [y]
        self._model.subgraphs = [self._graph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, name: str, kind: int) -> int:
        tensor = self._s.TensorT()
        tensor.name, tensor.shape, tensor.hasRank, tensor.buffer, tensor.type = name, [1], True, 0, kind
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(self, code: int, inputs: list[int], outputs: list[int], options_type: int, options: Any) -> None:
        entry = self._s.OperatorCodeT()
        entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
        self._model.operatorCodes.append(entry)
        operator = self._s.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        operator.builtinOptionsType, operator.builtinOptions = options_type, options
        self._graph.operators.append(operator)
