from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from front_rig import FrontRig
from grpc_rig import GrpcRig

from benchmarks.tiny_model import TinyBundle, make_bundle


@pytest.fixture
def make_front(tmp_path: Path) -> Iterator[Callable[..., FrontRig]]:
    """Makes API processes; they end, in good order, after the test."""
    fronts: list[FrontRig] = []

    def make(**start: Any) -> FrontRig:
        folder = tmp_path / f"front{len(fronts)}"
        folder.mkdir()
        fronts.append(FrontRig(folder, **start))
        return fronts[-1]

    yield make
    for front in fronts:
        front.close()


@pytest.fixture
def make_rig(make_front: Callable[..., FrontRig]) -> Iterator[Callable[..., GrpcRig]]:
    """Makes gRPC processes; they end before the API processes they ask."""
    rigs: list[GrpcRig] = []

    def make(front: FrontRig, **how: Any) -> GrpcRig:
        rigs.append(GrpcRig(front, **how))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def bundle(tmp_path: Path) -> TinyBundle:
    return make_bundle(tmp_path / "tiny")


@pytest.fixture
def front(make_front: Callable[..., FrontRig]) -> FrontRig:
    return make_front()


@pytest.fixture
def rig(front: FrontRig, bundle: TinyBundle, make_rig: Callable[..., GrpcRig]) -> GrpcRig:
    """gRPC before an API with one worker of the tiny model."""
    front.serve(bundle)
    return make_rig(front)
