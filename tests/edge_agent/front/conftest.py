from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from echo_model import echo_bundle
from front_rig import FrontRig

from benchmarks.tiny_model import TinyBundle, make_bundle


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., FrontRig]]:
    """Makes API processes; they end, in good order, after the test."""
    rigs: list[FrontRig] = []

    def make(**start: Any) -> FrontRig:
        folder = tmp_path / f"rig{len(rigs)}"
        folder.mkdir()
        rigs.append(FrontRig(folder, **start))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def bundle(tmp_path: Path) -> TinyBundle:
    return make_bundle(tmp_path / "tiny")


@pytest.fixture
def rig(make_rig: Callable[..., FrontRig]) -> FrontRig:
    return make_rig()


@pytest.fixture
def served(rig: FrontRig, bundle: TinyBundle) -> FrontRig:
    """An API with one worker of the tiny model."""
    rig.serve(bundle)
    return rig


@pytest.fixture
def wide(tmp_path: Path) -> TinyBundle:
    """A model that gives back what it gets: a row of any length, up to the room of a link."""
    return echo_bundle(tmp_path / "wide", "wide", [1, "n"])


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontRig]:
    """An API with one worker of the tiny model, shared by tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("standing")
    rig = FrontRig(folder)
    try:
        rig.serve(make_bundle(folder / "tiny"))
        yield rig
    finally:
        rig.close()
