"""Weights that stay mapped: no worker has a copy, versions with one file share its pages, and a swap needs no second room for them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine_rig import Rig
from weighty import beside_bundle

from benchmarks.folder_store import TinyBundle
from edge_agent.bundle.archive import unpack
from edge_agent.bundle.manifest import to_json
from edge_agent.config import ModelConfig

DEPTH = 1 << 18
WEIGHTS_KIB = DEPTH * 64 // 1024
MAPPED = (ModelConfig("weighty", mapped=True),)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyBundle, TinyBundle]:
    """Two versions with 16 MiB of weights each, in one file that both name."""
    folder = tmp_path_factory.mktemp("weighty")
    path, manifest, _ = beside_bundle(folder, depth=DEPTH)
    made = []
    for version in ("1", "2"):
        unpack(path, folder / version)
        told = replace(manifest, version=version)
        made.append(TinyBundle(told, folder / version, hashlib.sha256(to_json(told)).hexdigest()))
    second = folder / "2" / "model.weights"
    second.unlink()
    second.hardlink_to(folder / "1" / "model.weights")
    return made[0], made[1]


def serving(rig: Rig, versions: tuple[TinyBundle, TinyBundle]) -> Rig:
    rig.store.add(versions[0], active=True)
    rig.store.add(versions[1])
    rig.engine.serve("weighty")
    return rig


def pid_of(rig: Rig, role: str) -> int:
    return next(pid for name, pid in rig.engine.processes() if name.startswith(role) and "weighty" in name)


def anonymous_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def of_the_weights(pid: int) -> dict[str, int]:
    """What smaps says of the mapped file of weights, in KiB, its mappings together."""
    found: dict[str, int] = {}
    ours = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):
            ours = line.endswith("model.weights")
        elif ours and rest.split()[-1:] == ["kB"]:
            found[key[:-1]] = found.get(key[:-1], 0) + int(rest.split()[0])
    return found


def test_two_versions_share_the_pages_of_their_weights(make_rig: Callable[..., Rig], versions: tuple[TinyBundle, TinyBundle]) -> None:
    rig = serving(make_rig(models=MAPPED), versions)
    two = versions[1]
    assert rig.engine.try_candidate("weighty", two.digest, two.manifest, two.folder).passed
    mapped = of_the_weights(pid_of(rig, "candidate"))
    assert mapped["Rss"] > 0.9 * WEIGHTS_KIB
    assert mapped["Anonymous"] == 0
    assert mapped["Shared_Clean"] + mapped["Shared_Dirty"] > 0.9 * WEIGHTS_KIB
    rig.engine.switch("weighty", two.digest)
    assert [model.version for model in rig.engine.models() if model.name == "weighty"] == ["2"]


def test_a_worker_has_no_copy_of_mapped_weights(make_rig: Callable[..., Rig], versions: tuple[TinyBundle, TinyBundle]) -> None:
    plain, mapped = serving(make_rig(), versions), serving(make_rig(models=MAPPED), versions)
    copied_kib = anonymous_kib(pid_of(plain, "worker")) - anonymous_kib(pid_of(mapped, "worker"))
    assert copied_kib > 0.9 * WEIGHTS_KIB
    assert not of_the_weights(pid_of(plain, "worker"))


@pytest.mark.parametrize("models", [MAPPED, ()])
def test_a_candidate_whose_weights_were_cut_short_is_refused_and_nothing_dies(
    make_rig: Callable[..., Rig], versions: tuple[TinyBundle, TinyBundle], tmp_path: Path, models: tuple[ModelConfig, ...]
) -> None:
    rig = serving(make_rig(models=models), versions)
    before = pid_of(rig, "worker")
    path, manifest, files = beside_bundle(tmp_path, version="3", depth=DEPTH)
    unpack(path, tmp_path / "cut")
    os.truncate(tmp_path / "cut" / "model.weights", len(files["model.weights"]) // 2)
    report = rig.engine.try_candidate("weighty", "3" * 64, manifest, tmp_path / "cut")
    assert not report.passed
    assert "model.weights: the model's weights have 8388608 bytes, the manifest says 16777216" in report.reasons[0]
    assert pid_of(rig, "worker") == before


def test_mapped_weights_fit_beside_the_serving_version_where_a_copy_would_not(
    make_rig: Callable[..., Rig], versions: tuple[TinyBundle, TinyBundle]
) -> None:
    two = versions[1]
    for models, unloaded in ((MAPPED, False), ((), True)):
        rig = serving(make_rig(models=models, available=lambda: 55.0), versions)
        assert rig.engine.try_candidate("weighty", two.digest, two.manifest, two.folder).passed
        assert ("unloaded_first" in rig.kinds()) == unloaded
