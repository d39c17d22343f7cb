"""TensorFlow Serving's REST API: status, metadata, predict by row (``instances``) and by column (``inputs``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.bundle.manifest import fed_inputs
from edge_agent.front.connection import Connection
from edge_agent.front.datatypes import V2_OF
from edge_agent.front.health import Health
from edge_agent.front.http_head import HttpError
from edge_agent.front.jobs import submit_arrays
from edge_agent.front.rooms import Rooms
from edge_agent.front.served import Served
from edge_agent.front.statistics import version_number
from edge_agent.front.v2_request import read_json
from edge_agent.front.v2_tensors import check_count, checked_shape, packed, v2_shape
from edge_agent.values import TensorSpec

_TYPES = {"FP16": "DT_HALF", "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE"}
SIGNATURE = "serving_default"


def status(rooms: Rooms, health: Health, model: str, version: str, connection: Connection) -> None:
    """AVAILABLE when an inference would succeed now, else 503 with the state and an ``error``."""
    lane = rooms.known(model)
    served = lane.served
    number = version_number(served.version, served.number) if served is not None else lane.version
    if served is not None and not served.is_called(version):
        raise HttpError(404, f"Could not find version {version[:80]} of model {model}")

    def tell(ready: bool, why: str) -> None:
        entry = {
            "version": number,
            "state": "AVAILABLE" if ready else "LOADING" if lane.state in ("starting", "restarting") else "END",
            "status": {"error_code": "OK" if ready else "UNAVAILABLE", "error_message": why},
        }
        tree: dict[str, Any] = {"model_version_status": [entry]}
        connection.json(200 if ready else 503, tree if ready else {**tree, "error": why})

    health.ask(lane, tell)


def metadata(rooms: Rooms, model: str, version: str, connection: Connection) -> None:
    """The signature of the model."""
    _, served = rooms.find(model, version)
    number = version_number(served.version, served.number)
    signature = {
        "inputs": {spec.name: _tensor_info(spec) for spec in served.manifest.inputs},
        "outputs": {spec.name: _tensor_info(spec) for spec in served.manifest.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    connection.json(
        200,
        {
            "model_spec": {"name": model, "signature_name": "", "version": number},
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
        },
    )


def predict(rooms: Rooms, model: str, version: str, connection: Connection, body: bytes) -> None:
    """Raises HttpError for a request that cannot be understood."""
    if model not in rooms.lanes:
        raise HttpError(404, f"Servable not found for request: Latest({model[:80]})")
    lane, served = rooms.find(model, version)
    tree = read_json(body, served.most_json_bytes())
    if tree.get("signature_name", SIGNATURE) not in ("", SIGNATURE):
        raise HttpError(400, f"signature_name: the only one is {SIGNATURE}")
    rows, columns = tree.get("instances"), tree.get("inputs")
    if (rows is None) == (columns is None):
        raise HttpError(400, "either instances (rows) or inputs (columns) is needed")
    given = _columns_of(served, rows) if rows is not None else _named(served, columns)
    arrays = {spec.name: _array(served, spec, given) for spec in served.manifest.inputs if spec.name in given}
    submit_arrays(lane, served, arrays, connection, _tell_rows if rows is not None else _tell_columns)


def _columns_of(served: Served, rows: Any) -> dict[str, Any]:
    """Rows to one list for each input: values where there is one input, else objects."""
    if not isinstance(rows, list) or not rows:
        raise HttpError(400, "instances must be a list of at least one value or object")
    names = [spec.name for spec in fed_inputs(served.manifest)]
    if not all(isinstance(row, dict) for row in rows):
        if len(names) > 1:
            raise HttpError(400, f"instances must be objects with {', '.join(names)}")
        return {names[0]: rows}
    for row in rows:
        _check_names(served, row)
        if row.keys() != rows[0].keys():
            raise HttpError(400, "instances must all have the same inputs")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _named(served: Served, columns: Any) -> dict[str, Any]:
    if isinstance(columns, dict):
        _check_names(served, columns)
        return columns
    names = [spec.name for spec in fed_inputs(served.manifest)]
    if len(names) > 1:
        raise HttpError(400, f"inputs must be an object with {', '.join(names)}")
    return {names[0]: columns}


def _check_names(served: Served, given: Mapping[str, Any]) -> None:
    for name in served.inputs:
        if name not in given and name not in served.initial():
            raise HttpError(400, f"input {name}: is missing; the model takes {', '.join(served.inputs)}")
    for name in given:
        if name not in served.inputs:
            raise HttpError(400, f"input {name[:80]}: the model has no such input; it takes {', '.join(served.inputs)}")


def _array(served: Served, spec: TensorSpec, given: Mapping[str, Any]) -> Any:
    """The nested list of one input as an array of the model's dtype; its nesting is its shape."""
    data, place = given[spec.name], served.inputs[spec.name]
    if _has_b64(data):
        raise HttpError(400, f"input {spec.name}: binary values are not taken, the model works on numbers")
    shape = _shape_of(data)
    checked_shape(spec.name, list(shape), spec.shape)
    raw = packed(place, data, shape)
    return np.frombuffer(raw, np.dtype(spec.dtype)).reshape(shape)


def _has_b64(data: Any) -> bool:
    while isinstance(data, list) and data:
        data = data[0]
    return isinstance(data, dict)


def _shape_of(data: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(data, list):
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return tuple(shape)


def _tell_rows(connection: Connection, served: Served, arrays: dict[str, Any]) -> None:
    lists = _lists(arrays)
    if len(lists) == 1:
        connection.json(200, {"predictions": next(iter(lists.values()))})
        return
    counts = {len(values) if isinstance(values, list) else -1 for values in lists.values()}
    if len(counts) != 1 or -1 in counts:
        raise HttpError(400, "the outputs do not have one value for each instance; ask by column (inputs)")
    connection.json(200, {"predictions": [{name: values[i] for name, values in lists.items()} for i in range(counts.pop())]})


def _tell_columns(connection: Connection, served: Served, arrays: dict[str, Any]) -> None:
    lists = _lists(arrays)
    connection.json(200, {"outputs": next(iter(lists.values())) if len(lists) == 1 else lists})


def _lists(arrays: dict[str, Any]) -> dict[str, Any]:
    for name, array in arrays.items():
        check_count(name, array.size)
    return {name: array.tolist() for name, array in arrays.items()}


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    word = V2_OF[spec.dtype]
    dims = [{"size": str(size), "name": ""} for size in v2_shape(spec.shape)]
    return {"dtype": _TYPES.get(word, f"DT_{word}"), "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": spec.name}
