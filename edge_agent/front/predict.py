"""POST /predict[/MODEL]: plain values in, a label out, through the same steps that a pipeline uses. For people with curl.

The body is a JSON list (nested or flat), an object with ``values``, or lines of numbers separated by commas or blanks.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from edge_agent.bundle.manifest import Manifest, fed_inputs, read_outputs
from edge_agent.errors import EdgeError
from edge_agent.front.connection import Connection
from edge_agent.front.http_head import HttpError
from edge_agent.front.jobs import submit_arrays
from edge_agent.front.rooms import Rooms
from edge_agent.front.served import Served
from edge_agent.front.v2_request import check_length
from edge_agent.front.v2_tensors import check_count
from edge_agent.pipeline.postprocess import Postprocess, compile_postprocess
from edge_agent.pipeline.preprocess import compile_preprocess

STEPS_BYTES = 8 << 20


def predict(rooms: Rooms, model: str, default: str, connection: Connection, body: bytes) -> None:
    """Raises HttpError for values that cannot be read, or that the model's steps do not fit."""
    name = model or default or (next(iter(rooms.lanes)) if len(rooms.lanes) == 1 else "")
    if not name:
        raise HttpError(404, f"which model? POST /predict/MODEL with one of {', '.join(rooms.lanes) or 'none'}")
    lane, served = rooms.find(name)
    manifest = served.manifest
    # what goes through steps may be larger than what the model takes: an image that is made smaller, a recording made a spectrum
    check_length(len(body), max(served.most_json_bytes(), STEPS_BYTES if manifest.preprocess else 0))
    values = read_values(body)
    preprocess = served.once("preprocess", lambda: compile_preprocess(manifest.preprocess, fed_inputs(manifest)))
    try:
        arrays = preprocess(values)
    except (EdgeError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise HttpError(400, f"model {name}: {error}") from None
    submit_arrays(lane, served, arrays, connection, lambda c, by, outputs: _tell(c, by, outputs, arrays, values))


def read_values(body: bytes) -> Any:
    """The numbers in ``body``, float32 in two dimensions or more: one row of numbers is one reading. Raises HttpError 400."""
    text = bytes(body).decode("utf-8-sig", "replace").strip()  # some editors and shells put a mark before the first byte
    if not text:
        raise HttpError(400, "the body is empty: send numbers, as JSON or separated by commas")
    try:
        array = np.asarray(_json_values(text) if text[0] in "[{" else _rows(text))
        if array.dtype.kind not in "iufb" and not all(type(value) in (int, float) for value in array.flat):
            raise HttpError(400, "values must be numbers, not text or null")
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    except (ValueError, TypeError, OverflowError):
        raise HttpError(400, "the body must be numbers: a JSON list, nested to one shape, or lines separated by commas") from None
    return array.reshape(1, -1) if array.ndim < 2 else array


def _json_values(text: str) -> Any:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, f"the body is not JSON: {error}") from None
    if isinstance(tree, dict):
        if "values" not in tree:
            raise HttpError(400, 'the object has no key "values"')
        tree = tree["values"]
    return tree


def _rows(text: str) -> list[list[float]]:
    return [[float(word) for word in line.replace(",", " ").replace(";", " ").split()] for line in text.splitlines() if line.strip()]


def _tell(connection: Connection, served: Served, outputs: dict[str, Any], arrays: dict[str, Any], values: Any) -> None:
    manifest = served.manifest
    if not manifest.postprocess:
        for name, array in outputs.items():
            check_count(name, array.size)
    postprocess = served.once("postprocess", lambda: _postprocess(manifest))
    postprocess.reset()  # every request is a stream of its own: steps that remember have nothing to remember
    try:
        verdict = postprocess(outputs, arrays, values)
    except (EdgeError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise HttpError(400, f"model {served.model}: {error}") from None
    tree: dict[str, Any] = {"model": served.model, "version": served.version, "label": verdict.label, "score": verdict.score}
    tree["scores"] = list(verdict.scores)
    if manifest.labels and len(manifest.labels) == len(verdict.scores):
        tree["by_label"] = dict(zip(manifest.labels, verdict.scores, strict=True))
    if verdict.boxes:
        tree["boxes"] = [asdict(box) for box in verdict.boxes]
    connection.json(200, tree)


def _postprocess(manifest: Manifest) -> Postprocess:
    return compile_postprocess(manifest.postprocess, read_outputs(manifest), manifest.labels, fed_inputs(manifest))
