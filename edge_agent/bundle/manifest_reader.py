"""A manifest from the bytes of its JSON. Strict: an unknown format number, a missing key, a wrong type, a name that could leave the
folder are errors that name the key. Unknown keys are ignored so that newer writers can add some; what must not be ignored has a format
number of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from edge_agent.bundle.manifest import (
    FORMATS,
    IN_GRAPH,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    MAX_RANK,
    NAME,
    ON_GAP,
    ON_SWAP,
    ROLES,
    RUNTIMES,
    STATE_FORMAT,
    VERSION,
    WEIGHTS_FORMAT,
    FileEntry,
    GoldenCase,
    GoldenTensor,
    Manifest,
    Requirements,
    RuntimeRequirement,
    StatePair,
    StateSpec,
    Step,
)
from edge_agent.bundle.manifest_checks import cross_check
from edge_agent.bundle.manifest_tree import JsonTree, finite
from edge_agent.errors import BundleError
from edge_agent.values import DTYPES, TensorSpec

_PATH = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/){0,3}[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def from_json(data: bytes) -> Manifest:
    """The manifest in ``data``; raises :class:`BundleError` naming every key that is wrong."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST_NAME}: larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        tree = json.loads(data)
        json.dumps(tree, ensure_ascii=False).encode()  # a lone surrogate could be read but never written again
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST_NAME}: not JSON ({error})") from None
    json_tree = JsonTree()
    manifest = _read(tree, json_tree)
    if json_tree.problems:
        raise BundleError("; ".join(f"{MANIFEST_NAME} {p}" for p in json_tree.problems))
    assert manifest is not None
    return manifest


def _read(tree: Any, j: JsonTree) -> Manifest | None:
    if not isinstance(tree, dict):
        j.bad("", "must be a JSON object")
        return None
    number = tree.get("format")
    if number not in FORMATS or isinstance(number, bool):
        j.bad("format", f"is {number!r}; this version reads formats {', '.join(map(str, FORMATS))}")
        return None
    manifest = Manifest(
        name=j.match(tree, "name", NAME),
        version=j.match(tree, "version", VERSION),
        runtime=_runtime(j, tree),
        files=tuple(_file(j, f, f"files[{i}]") for i, f in enumerate(j.items(tree, "files"))),
        inputs=_specs(j, tree, "inputs"),
        outputs=_specs(j, tree, "outputs"),
        preprocess=_steps(j, tree, "preprocess"),
        postprocess=_steps(j, tree, "postprocess"),
        labels=j.strings(tree, "labels"),
        requires=_requires(j, tree),
        quality=j.table(tree, "quality"),
        golden=tuple(_case(j, c, f"golden[{i}]") for i, c in enumerate(j.items(tree, "golden"))),
        recipe=j.table(tree, "recipe"),
        source_sha256=j.text(tree, "source_sha256", ""),
        created=j.text(tree, "created", ""),
        state=_state(j, tree, number),
    )
    if bool(manifest.weights_files) != (number == WEIGHTS_FORMAT):
        j.bad("format", f"is {number}; a bundle with a file of role weights has {WEIGHTS_FORMAT}, and no other has")
    j.problems += cross_check(manifest)
    return manifest


def _runtime(j: JsonTree, tree: Mapping[str, Any]) -> RuntimeRequirement:
    node = j.table(tree, "runtime")
    name = j.word(node, "name", RUNTIMES, None, "runtime")
    return RuntimeRequirement(name, j.text(node, "minimum", "", "runtime"), j.strings(node, "excluded", "runtime"))


def _file(j: JsonTree, value: Any, where: str) -> FileEntry:
    node = j.mapping(value, where)
    path = j.match(node, "path", _PATH, where)
    digest = j.match(node, "sha256", _SHA256, where)
    role = j.text(node, "role", None, where)
    if role not in ROLES:
        j.bad(f"{where}.role", f"{role!r} is not one of {', '.join(ROLES)}")
    return FileEntry(path, role, j.whole(node, "bytes", where), digest)


def _shape(j: JsonTree, node: Mapping[str, Any], where: str, *, free: bool) -> tuple[int | None, ...]:
    shape = j.items(node, "shape", where)
    if len(shape) > MAX_RANK:
        j.bad(f"{where}.shape", f"has {len(shape)} dimensions; at most {MAX_RANK} are allowed")
        return ()
    for size in shape:
        whole = isinstance(size, int) and not isinstance(size, bool) and 0 < size <= 1 << 31
        if not whole and not (free and size is None):
            j.bad(f"{where}.shape", f"{size!r} is not a size")
            return ()
    return tuple(shape)


def _dtype(j: JsonTree, node: Mapping[str, Any], where: str) -> str:
    return j.word(node, "dtype", tuple(DTYPES), None, where)


def _specs(j: JsonTree, tree: Mapping[str, Any], key: str) -> tuple[TensorSpec, ...]:
    return tuple(_spec(j, value, f"{key}[{i}]") for i, value in enumerate(j.items(tree, key)))


def _spec(j: JsonTree, value: Any, where: str) -> TensorSpec:
    node = j.mapping(value, where)
    scale, zero = node.get("scale"), node.get("zero_point")
    if scale is not None and not (isinstance(scale, (int, float)) and 0 < finite(scale) < float("inf")):
        j.bad(f"{where}.scale", "must be a positive number or null")
        scale = None
    if zero is not None and (not isinstance(zero, int) or isinstance(zero, bool) or abs(zero) > 1 << 31):
        j.bad(f"{where}.zero_point", "must be a whole number of 32 bits or null")
        zero = None
    name, dtype, shape = j.text(node, "name", None, where), _dtype(j, node, where), _shape(j, node, where, free=True)
    return TensorSpec(name, dtype, shape, None if scale is None else float(scale), zero)


def _steps(j: JsonTree, tree: Mapping[str, Any], key: str) -> tuple[Step, ...]:
    steps = []
    for i, value in enumerate(j.items(tree, key)):
        where = f"{key}[{i}]"
        node = j.mapping(value, where)
        args = node.get("args", {})
        steps.append(Step(j.text(node, "op", None, where), j.mapping(args, f"{where}.args")))
    return tuple(steps)


def _requires(j: JsonTree, tree: Mapping[str, Any]) -> Requirements:
    node = j.table(tree, "requires")
    return Requirements(
        profiles=j.strings(node, "profiles", "requires"),
        arch=j.strings(node, "arch", "requires"),
        ram_mib=int(j.number(node, "ram_mib", 0, "requires")),
        agent=j.text(node, "agent", "", "requires"),
        latency_p95_ms=j.number(node, "latency_p95_ms", 0, "requires"),
        peak_rss_mib=j.number(node, "peak_rss_mib", 0, "requires"),
        shadow_disagreement=j.number(node, "shadow_disagreement", 0, "requires"),
    )


def _tensors(j: JsonTree, node: Mapping[str, Any], key: str, where: str) -> tuple[GoldenTensor, ...]:
    tensors = []
    for i, value in enumerate(j.items(node, key, where)):
        here = f"{where}.{key}[{i}]"
        item = j.mapping(value, here)
        shape = tuple(d for d in _shape(j, item, here, free=False) if d is not None)
        tensors.append(GoldenTensor(j.text(item, "name", None, here), j.match(item, "path", _PATH, here), _dtype(j, item, here), shape))
    return tuple(tensors)


def _case(j: JsonTree, value: Any, where: str) -> GoldenCase:
    node = j.mapping(value, where)
    return GoldenCase(
        _tensors(j, node, "inputs", where),
        _tensors(j, node, "outputs", where),
        j.number(node, "atol", 1e-4, where),
        j.number(node, "rtol", 1e-4, where),
    )


def _state(j: JsonTree, tree: Mapping[str, Any], number: int) -> StateSpec | None:
    """Always there in format 2, and never in format 1, where readers of old would ignore it."""
    if "state" not in tree:
        if number == STATE_FORMAT:
            j.bad("state", f"is missing, which format {STATE_FORMAT} is for")
        return None
    if number not in (STATE_FORMAT, WEIGHTS_FORMAT):
        j.bad("format", f"is {number}; a bundle with state has {STATE_FORMAT}")
    return read_state(j, tree)


def read_state(j: JsonTree, tree: Mapping[str, Any]) -> StateSpec:
    """What ``tree`` holds at the key ``state``."""
    node = j.table(tree, "state")
    return StateSpec(
        pairs=tuple(_pair(j, pair, f"state.pairs[{i}]") for i, pair in enumerate(j.items(node, "pairs", "state"))),
        on_swap=j.word(node, "on_swap", ON_SWAP, "reset", "state"),
        on_gap=j.word(node, "on_gap", ON_GAP, "keep", "state"),
        in_graph=j.word(node, "in_graph", IN_GRAPH, "reset", "state"),
    )


def _pair(j: JsonTree, value: Any, where: str) -> StatePair:
    node = j.mapping(value, where)
    initial = finite(j.get(node, "initial", (int, float), 0.0, where))
    if not abs(initial) < float("inf"):
        j.bad(f"{where}.initial", "must be a finite number")
        initial = 0.0
    return StatePair(j.text(node, "input", None, where), j.text(node, "output", None, where), initial)
