"""A slice of the fuzzing: every damaged file gets a clear answer. The whole of it is ``make fuzz``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz.campaign import Campaign
from fuzz.seeds import all_seeds
from fuzz.subjects import SUBJECTS
from fuzz.worker import make_case


def test_five_hundred_damaged_files_get_a_clear_answer(tmp_path: Path) -> None:
    seeds = [item for item in all_seeds(None) if len(item.data) < 20_000]
    tally = Campaign(seeds, 20, workers=2, limit_s=60, keep=tmp_path).run(500)
    assert sum(tally.counts.values()) == 500
    assert tally.findings == 0, tally.kept
    assert tally.counts["refused"] > 100 and tally.counts["taken"] > 50


def test_the_same_numbers_give_the_same_damage() -> None:
    seeds = all_seeds(None)
    assert [make_case(seeds, 3, k)[1] for k in range(40)] == [make_case(seeds, 3, k)[1] for k in range(40)]
    assert len({make_case(seeds, seed, 0)[1] for seed in range(20)}) > 10


@pytest.mark.parametrize("kind", SUBJECTS)
def test_the_whole_files_are_taken(kind: str, tmp_path: Path) -> None:
    """Else the damage would never get beyond what is refused anyway."""
    seeds = [item for item in all_seeds(None) if item.kind == kind and len(item.data) < 200_000]
    assert seeds
    for item in seeds:
        (tmp_path / f"whole.{kind}").write_bytes(item.data)
        assert SUBJECTS[kind](tmp_path / f"whole.{kind}", random.Random(1)) == "taken", item.name


def test_a_worker_that_dies_is_replaced_and_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os
    import signal

    def die(path: Path, chance: random.Random) -> str:
        if chance.random() < 0.1:
            os.kill(os.getpid(), signal.SIGSEGV)
        return "taken"

    seeds = [item for item in all_seeds(None) if item.kind == "toml"]
    monkeypatch.setattr("fuzz.worker.SUBJECTS", {"toml": die})
    tally = Campaign(seeds, 1, workers=2, keep=tmp_path).run(60)
    assert sum(tally.counts.values()) == 60
    assert 0 < tally.counts["crash"] < 30
    assert len(list(tmp_path.glob("crash-1-*.toml"))) == tally.counts["crash"]
    assert tally.findings == 0
