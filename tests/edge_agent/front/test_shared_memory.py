"""Tensors in shared memory that the client registered."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_rig import FrontRig

INFER = "/v2/models/tiny/infer"


@pytest.fixture
def key() -> Iterator[str]:
    name = f"edge-test-{os.getpid()}"
    path = Path("/dev/shm") / name
    path.write_bytes(np.array([1, 2, 3, 4], np.float32).tobytes() + bytes(64))
    yield name
    path.unlink(missing_ok=True)


def register(rig: FrontRig, key: Any, size: int = 80, offset: int = 0, name: str = "r") -> Any:
    return rig.ask("POST", f"/v2/systemsharedmemory/region/{name}/register", {"key": key, "offset": offset, "byte_size": size})


def asked(out_bytes: int = 12, offset: int = 16) -> dict[str, Any]:
    memory = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    out = {"shared_memory_region": "r", "shared_memory_byte_size": out_bytes, "shared_memory_offset": offset}
    inputs = [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": memory}]
    return {"inputs": inputs, "outputs": [{"name": "y", "parameters": out}]}


def test_inputs_and_outputs_in_shared_memory(served: FrontRig, key: str) -> None:
    assert served.ask("GET", "/v2/systemsharedmemory/status").json == []
    assert register(served, f"/{key}").status == 200
    assert served.ask("GET", "/v2/systemsharedmemory/status").json == [{"name": "r", "key": f"/{key}", "offset": 0, "byte_size": 80}]
    output = served.ask("POST", INFER, asked()).json["outputs"][0]
    assert output == {"name": "y", "datatype": "FP32", "shape": [1, 3]}
    written = np.frombuffer((Path("/dev/shm") / key).read_bytes()[16:28], np.float32)
    assert written.tolist() == [10, 0, 0]
    assert served.ask("POST", "/v2/systemsharedmemory/region/r/unregister").status == 200
    assert served.ask("POST", INFER, asked()).status == 400


def test_what_does_not_fit_is_refused(served: FrontRig, key: str) -> None:
    assert register(served, key).status == 200
    assert register(served, key).status == 400
    for out_bytes, offset in ((4, 16), (12, 75), (80, 1)):
        answer = served.ask("POST", INFER, asked(out_bytes, offset))
        assert answer.status == 400 and answer.json["error"]
    (Path("/dev/shm") / key).write_bytes(b"")  # cut short under the server
    answer = served.ask("POST", INFER, asked())
    assert answer.status == 400 and "cut short" in answer.json["error"]
    assert served.infer([1, 2, 3, 4]).status == 200


@pytest.mark.parametrize("bad", ["../etc/passwd", "a/b", "", "..", "no-such-object", 7, None, "x" * 300])
def test_only_shared_memory_objects_can_be_named(standing: FrontRig, bad: Any) -> None:
    answer = register(standing, bad)
    assert answer.status == 400 and answer.json["error"]


def test_links_are_not_followed_and_sizes_are_checked(served: FrontRig, key: str) -> None:
    link = Path("/dev/shm") / f"{key}-link"
    link.symlink_to("/etc/passwd")
    try:
        assert register(served, link.name, 1).status == 400
    finally:
        link.unlink()
    for size, offset in ((81, 0), (80, 1), (0, 0), (-1, 0)):
        assert register(served, key, size, offset).status == 400
    assert served.ask("GET", "/v2/systemsharedmemory/region/r/status").status == 404
    assert served.ask("GET", "/v2/cudasharedmemory/status").json == []
    assert served.ask("POST", "/v2/cudasharedmemory/unregister").status == 200


def test_memory_that_runs_full_under_an_output_fails_that_request_alone(served: FrontRig, key: str) -> None:
    assert register(served, key).status == 200
    # A limit on the size of files is what a full memory is to a write: it fails where the bytes would go.
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (8, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    answer = served.ask("POST", INFER, asked())
    assert answer.status == 400 and "cannot be written" in answer.json["error"]
    assert served.infer([1, 2, 3, 4]).status == 200
