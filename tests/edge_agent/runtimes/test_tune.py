"""Options tried on this board: the rule, what is tried, what is kept, and real trials."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import tiny_bundle, tiny_onnx, tiny_tflite

from edge_agent import tuning_apart
from edge_agent.__main__ import main
from edge_agent.bench_subject import Subject
from edge_agent.bundle.archive import unpack
from edge_agent.bundle.manifest import to_json
from edge_agent.errors import ModelError
from edge_agent.runtimes.options import Provider, RuntimeOptions
from edge_agent.runtimes.tune import (
    Choice,
    Tried,
    TuneKey,
    better,
    challengers,
    choice_from_json,
    choice_to_json,
    cpu_model,
    describe,
    kept_choice,
    thread_counts,
    variants,
)
from edge_agent.tuning import Order, Tuner, library_name
from edge_agent.tuning_apart import tune_apart

ONE = RuntimeOptions()
KEY = TuneKey("d" * 64, "onnxruntime 1.23.0", "cpu x 4", 10.0, "threads 1")


def tried(p50_us: float, cpu_us: float, mib: float = 50.0, **options: Any) -> Tried:
    return Tried(RuntimeOptions(**options), (p50_us,) * 3, cpu_us, cpu_us, mib)


FIRST = tried(100, 100)


@pytest.mark.parametrize(
    ("challenger", "why"),
    [
        (tried(60, 125), "40 % faster"),
        (tried(60, 131), ""),
        (tried(96, 96), ""),
        (tried(95, 95), "5 % faster"),
        (tried(104, 104, 40), "10.0 MiB less at the same speed"),
        (tried(106, 106, 10), ""),
        (tried(100, 100, 46), ""),
        (tried(100, 140, 10), ""),
    ],
)
def test_the_rule(challenger: Tried, why: str) -> None:
    assert better(FIRST, FIRST, challenger) == why


def test_on_a_busy_board_only_memory_can_be_told() -> None:
    """Wall time says twice as fast; but the trial waited, and processor time is what can be trusted."""

    def busy(p50_us: float, cpu_us: float, mib: float) -> Tried:
        return Tried(ONE, (p50_us,) * 3, 2 * cpu_us, cpu_us, mib)

    assert busy(1, 1, 1).waited and not FIRST.waited
    assert better(FIRST, busy(200, 100, 50), busy(100, 100, 50)) == ""
    assert better(FIRST, busy(100, 100, 50), busy(200, 104, 10)) == "40.0 MiB less at the same speed"
    assert better(FIRST, busy(100, 100, 50), busy(50, 106, 10)) == ""
    assert Choice(ONE, "", (FIRST, busy(1, 1, 1))).busy and not Choice(ONE, "", (FIRST,)).busy


def test_small_savings_do_not_count() -> None:
    assert better(FIRST, tried(100, 100, 2.0), tried(100, 100, 1.2)) == ""


def test_a_lucky_half_of_the_rounds_does_not_win() -> None:
    lucky = Tried(ONE, (50.0, 50.0, 50.0, 50.0, 130.0, 130.0), 90, 90, 50)
    assert better(FIRST, Tried(ONE, (100.0,) * 6, 100, 100, 50), lucky) == ""


def test_rounds_are_compared_in_pairs() -> None:
    """A board that slows down half-way slows both: three rounds at 100 and three at 300 beside 80 and 240 are 20 % faster."""
    slow, fast = (Tried(ONE, (a,) * 3 + (3 * a,) * 3, 100, 100, 50) for a in (100.0, 80.0))
    assert better(FIRST, slow, fast) == "20 % faster"


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2)), (4, (1, 2, 3)), (8, (1, 2, 7))])
def test_threads_are_one_two_and_all_but_one(cores: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(cores) == counts


def test_the_processor_alone_is_tried_where_the_profile_asks_for_more() -> None:
    asked = RuntimeOptions(providers=(Provider("CUDAExecutionProvider"),), fallback=True)
    names = dict(challengers(asked, 1))
    assert names == {"processor": {"providers": (), "delegates": ()}}


def test_threads_spin_only_for_a_busy_model() -> None:
    two = RuntimeOptions(threads=2)
    assert "spinning" in dict(variants("onnx", two, duty=0.6))
    assert "spinning" not in dict(variants("onnx", two, duty=0.5)) and "spinning" not in dict(variants("onnx", ONE, duty=0.9))
    assert list(variants("tflite", two, duty=0.9)) == []


def test_options_are_described_by_what_differs() -> None:
    assert describe(ONE) == "threads 1"
    assert describe(RuntimeOptions(2, True, False, False)) == "threads 2, spinning, arena off, prepack off"


@given(st.builds(TuneKey, *[st.text(max_size=9)] * 3, rate_hz=st.floats(0, 1e4)), st.floats(0.1, 1e9))
def test_a_choice_is_kept_for_its_key_alone(key: TuneKey, time_us: float) -> None:
    choice = Choice(replace(ONE, threads=2), "because", (tried(time_us, 1.0), tried(2.0, 1.0, threads=2)))
    data = choice_to_json(key, choice)
    assert choice_from_json(key, data) == choice
    assert choice_from_json(replace(key, digest=key.digest + "x"), data) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"format": 1}', b"null"])
def test_a_damaged_choice_is_as_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / KEY.file_name()).write_bytes(data)
    assert kept_choice(tmp_path, KEY) is None and kept_choice(tmp_path / "none", KEY) is None


def test_processors_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    core = "processor\t: {}\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
    (tmp_path / "proc/cpuinfo").write_text("".join(core.format(i) for i in range(4)) + "Hardware\t: BCM2711\n")
    assert cpu_model(tmp_path) == "CPU implementer 0x41, CPU part 0xd08, Hardware BCM2711 x 4"
    assert cpu_model(tmp_path / "none") == "unknown"


def subject_of(path: Path) -> Subject:
    return Subject(path.name, str(path), path.stat().st_size, ONE)


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_real_trial_measures_what_it_tries_and_keeps_what_it_is_sure_of(tmp_path: Path, kind: str) -> None:
    path = tiny_onnx(tmp_path / "m.onnx") if kind == "onnx" else tiny_tflite(tmp_path / "m.tflite")
    choice = tune_apart(subject_of(path), kind, rate_hz=10.0, digest="d" * 64, folder=tmp_path / "kept")
    assert choice.tried[0].options == ONE and choice.options in [t.options for t in choice.tried]
    assert all(t.p50_us > 0 and t.cpu_us > 0 and len(t.round_p50_us) == 6 for t in choice.tried)
    key = TuneKey("d" * 64, library_name(kind), cpu_model(), 10.0, describe(ONE))
    assert kept_choice(tmp_path / "kept", key) == (None if choice.busy else choice)


def test_a_kept_choice_is_found_again_without_a_trial(tmp_path: Path) -> None:
    key = TuneKey("d" * 64, library_name("onnx"), cpu_model(), 10.0, describe(ONE))
    choice = Choice(RuntimeOptions(threads=2), "it was so", (tried(2.0, 1.0),))
    (tmp_path / key.file_name()).write_bytes(choice_to_json(key, choice))
    gone = Subject("m.onnx", str(tmp_path / "m.onnx"), 1, ONE)
    assert tune_apart(gone, "onnx", rate_hz=10.0, digest="d" * 64, folder=tmp_path) == choice
    with pytest.raises(ModelError, match=r"m\.onnx"):
        tune_apart(gone, "onnx", rate_hz=20.0, digest="d" * 64, folder=tmp_path)


def test_a_bundle_is_tried_on_its_golden_inputs(tmp_path: Path) -> None:
    manifest = unpack(tiny_bundle(tmp_path / "a.edgemodel").path, tmp_path / "f")
    file = tmp_path / "f" / manifest.model_file.path
    subject = replace(subject_of(file), manifest=to_json(manifest).decode(), folder=str(tmp_path / "f"))
    assert tune_apart(subject, "onnx", rate_hz=0.0, digest="", folder=None).tried


def test_changes_add_up(tmp_path: Path) -> None:
    """Mapped weights: prepacking off saves their copy, and what is tried after it is tried on top of it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((1024, 1024), np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1024]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "m.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=1024)
    choice = tune_apart(subject_of(path), "onnx", rate_hz=0.0, digest="", folder=None)
    packed, mapped = (next(t for t in choice.tried if t.options.prepack is prepack and t.options.arena) for prepack in (True, False))
    assert packed.own_mib - mapped.own_mib > 3
    if not choice.options.prepack:  # unless it was slower here
        assert [t.options.prepack for t in choice.tried if not t.options.arena] == [False]


def test_without_processor_time_only_the_start_is_measured(tmp_path: Path) -> None:
    order = Order(subject_of(tiny_onnx(tmp_path / "m.onnx")), "onnx", cores=4)
    from edge_agent.runtimes.choose import preimport

    preimport(("onnx",))
    choice = Tuner(order, lambda: 0.0, budget_s=0.0).run()
    assert choice.options == ONE and len(choice.tried) == 1 and "no processor time left" in choice.reason


def test_a_model_that_does_not_load_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"m\.onnx: onnxruntime .* refuses it"):
        tune_apart(subject_of(path), "onnx", rate_hz=0.0, digest="", folder=None)


def test_a_trial_that_dies_is_told_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'no room' >&2\nexit 9\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(ModelError, match="could not be tried: no room"):
        tune_apart(subject_of(tiny_onnx(tmp_path / "m.onnx")), "onnx", rate_hz=0.0, digest="", folder=None)


def test_a_trial_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    subject = subject_of(tiny_onnx(tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match="within 0 s"):
        tuning_apart.tune_apart(subject, "onnx", rate_hz=0.0, digest="", folder=None, timeout_s=0.2)


def test_the_command_prints_what_it_chose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tiny_onnx(tmp_path / "m.onnx"))
    assert main(["bench", path, "--tune"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  chosen: threads") for line in lines) and max(map(len, lines)) <= 100
    assert main(["bench", path, "--tune", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["model"] == path and told["options"]["threads"] >= 1 and told["tried"]
