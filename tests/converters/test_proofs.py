"""Files in runtime versions of other environments: what they answer there, how they fail there, and what is said where there is none."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import INPUT, OUTPUT, tiny_tflite

from converters.boards import describe_one
from converters.goal import goal_for
from converters.golden import widened
from converters.proofs import agrees, prove_everywhere
from converters.tools.catalogue import runtime_tool
from converters.workshop import Proof, Workshop
from device_profiles.load import load_profile
from edge_agent.errors import ModelError
from edge_agent.values import TensorSpec

PROVE = (("tflite", "tflite-runtime", "2.14.0"),)
ROWS = (0, 1, 2, 3)

Environment = Callable[[str], Path]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    np.savez(tmp_path / "s.npz", **{INPUT: np.random.default_rng(1).normal(0, 1, (4, 4)).astype(np.float32)})
    return Workshop(tmp_path, tmp_path / "s.npz", ())


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Makes a tool environment for the old version whose Python does as the shell ``script`` says."""
    monkeypatch.setenv("EDGE_CONVERT_TOOLS", str(tmp_path / "tools"))

    def make(script: str) -> Path:
        tool = runtime_tool(*PROVE[0][1:])
        python = tmp_path / "tools" / tool.name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        ready = {"requirements": tool.requirements, "python": "python", "installed": {}}
        (python.parent.parent / "ready.json").write_text(json.dumps(ready))
        return python

    return make


def proof(values: object, dtype: str = "float32") -> Proof:
    array = np.asarray(values, dtype)
    return Proof(Path("m.tflite"), "there", "1", (), (TensorSpec(OUTPUT, dtype, (1, array.shape[1])),), {OUTPUT: array})


def proven(workshop: Workshop, folder: Path, *, int8: bool = False) -> tuple[Proof, bytes]:
    data = tiny_tflite(folder / "tiny.tflite", int8=int8).read_bytes()
    return workshop.prove("tflite-int8", data, "tflite", ROWS), data


def test_the_armv7_board_names_the_version_that_runs_there() -> None:
    assert goal_for(("generic-armv7",)).prove == PROVE
    assert goal_for(("rpi4",)).prove == ()
    assert "models are proven in 2.14.0" in describe_one(load_profile("generic-armv7"))


@pytest.mark.parametrize("int8", [False, True])
def test_another_interpreter_runs_the_file_on_the_same_feeds(workshop: Workshop, tmp_path: Path, int8: bool) -> None:
    here, data = proven(workshop, tmp_path, int8=int8)
    there = workshop.prove_in(Path(sys.executable), "m", data, "tflite", ROWS)
    assert there.inputs == here.inputs
    assert there.outputs == here.outputs
    np.testing.assert_array_equal(there.values[OUTPUT], here.values[OUTPUT])
    assert not list(tmp_path.rglob("feed_*.npy"))


def test_a_file_is_proven_where_its_environment_answers_alike(workshop: Workshop, tmp_path: Path, environment: Environment) -> None:
    environment(f'exec "{sys.executable}" "$@"')
    here, data = proven(workshop, tmp_path)
    (there,) = prove_everywhere(workshop, here, data, "tflite", ROWS, PROVE)
    assert (there.library, there.version, there.reason, there.note) == ("tflite-runtime", "2.14.0", "", "")
    assert there.proof is not None
    assert prove_everywhere(workshop, here, data, "onnx", ROWS, PROVE) == ()


def test_an_environment_that_is_not_there_names_the_command_that_makes_it(
    workshop: Workshop, tmp_path: Path, environment: Environment
) -> None:
    here, data = proven(workshop, tmp_path)
    (there,) = prove_everywhere(workshop, here, data, "tflite", ROWS, PROVE)
    assert there.missing
    assert there.reason == (
        "not proven in tflite-runtime 2.14.0, which generic-armv7 runs: `edge-convert tools add tflite-runtime-2.14.0` makes its "
        "environment, or --unproven goes without"
    )


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -SEGV $$", "does not run in tflite-runtime 2.14.0: the runtime crashed (SIGSEGV)"),
        ("echo no such op >&2; exit 1", "does not run in tflite-runtime 2.14.0: failed (no such op)"),
    ],
)
def test_a_version_that_crashes_or_fails_is_a_reason(
    workshop: Workshop, tmp_path: Path, environment: Environment, script: str, said: str
) -> None:
    environment(script)
    here, data = proven(workshop, tmp_path)
    (there,) = prove_everywhere(workshop, here, data, "tflite", ROWS, PROVE)
    assert (there.reason, there.missing) == (said, False)


def test_a_version_that_answers_wrongly_is_a_reason(workshop: Workshop, tmp_path: Path, environment: Environment) -> None:
    environment(f'exec "{sys.executable}" "$@"')
    here, data = proven(workshop, tmp_path)
    other = replace(
        here, values={OUTPUT: here.values[OUTPUT][:, :, ::-1] if here.values[OUTPUT].ndim == 3 else here.values[OUTPUT][:, ::-1]}
    )
    (there,) = prove_everywhere(workshop, other, data, "tflite", ROWS, PROVE)
    assert there.reason.startswith(f"answers differently in tflite-runtime 2.14.0: output {OUTPUT} differs by")
    (there,) = prove_everywhere(workshop, other, data, "tflite", ROWS, PROVE, judge=lambda _: ["loses everything"])
    assert there.reason.endswith("; there it loses everything")


def test_answers_that_are_other_but_good_are_told_and_widen_the_golden_tolerance(
    workshop: Workshop, tmp_path: Path, environment: Environment
) -> None:
    environment(f'exec "{sys.executable}" "$@"')
    here, data = proven(workshop, tmp_path)
    other = replace(here, values={OUTPUT: here.values[OUTPUT] + np.float32(0.5)})
    (there,) = prove_everywhere(workshop, other, data, "tflite", ROWS, PROVE, judge=lambda _: [])
    assert not there.reason
    assert there.note.endswith("there, too, it passes the gate")
    assert there.proof is not None
    assert widened((0.1, 1e-4), other, [there.proof], [0, 2]) == pytest.approx((0.75, 1e-4), rel=1e-4)
    assert widened((2.0, 1e-4), other, [there.proof], [0, 2]) == (2.0, 1e-4)
    assert widened((0.1, 1e-4), other, [], [0, 2]) == (0.1, 1e-4)


def test_a_refusal_of_the_runtime_there_keeps_its_reason(workshop: Workshop, tmp_path: Path) -> None:
    here, data = proven(workshop, tmp_path)
    with pytest.raises(ModelError, match=r"expected float32 \(1, 4\)|\.tflite"):
        workshop.prove_in(Path(sys.executable), "m", data[: len(data) // 2], "tflite", ROWS)
    assert here.values


def test_float_files_must_agree_closely_and_integer_ones_within_codes() -> None:
    here = proof([[0.0, 1.0, 2.0, 255.0]])
    assert not agrees(here, proof([[0.0, 1.0, 2.0, 255.02]]), quantized=False)
    assert "differs by 1, allowed is 0.0255" in agrees(here, proof([[1.0, 1.0, 2.0, 255.0]]), quantized=False)
    assert not agrees(here, proof([[2.0, 1.0, 2.0, 255.0]]))
    assert "differs by 3" in agrees(here, proof([[3.0, 1.0, 2.0, 255.0]]))
    assert not agrees(proof([[1, 5]], "int8"), proof([[3, 5]], "int8"))
    assert "differs by 3 codes" in agrees(proof([[1, 5]], "int8"), proof([[4, 5]], "int8"))


def test_values_on_a_grid_are_judged_by_its_width_however_little_of_it_they_span() -> None:
    here = proof([[0.5, 1.0, 1.5, 0.5]])
    assert not agrees(here, proof([[1.0, 1.5, 1.5, 0.5]]))
    assert "differs by 1.5" in agrees(here, proof([[2.0, 1.0, 1.5, 0.5]]))


def test_other_shapes_types_names_and_infinities_never_agree() -> None:
    here = proof([[0.0, 1.0]])
    assert "is float32 (3,) there" in agrees(here, proof([[0.0, 1.0, 2.0]]))
    assert "is int8 (2,) there" in agrees(here, proof([[0, 1]], "int8"))
    assert "NaN or infinity" in agrees(here, proof([[0.0, np.nan]]))
    assert agrees(replace(here, outputs=(TensorSpec("z", "float32", (1, 2)),), values={"z": here.values[OUTPUT]}), here) == (
        "has no output z there"
    )
