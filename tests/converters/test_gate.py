"""The numbers behind the verdict, and the verdict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.evaluate import Evaluation, evaluate
from converters.gate import Limits, Weighed, judge
from converters.metrics.intervals import paired_interval, wilson
from converters.timing import Ratio, ratio
from converters.workshop import Proof
from edge_agent.values import TensorSpec

LIMITS = Limits(max_drop=0.01, min_sqnr_db=25, size_mib=1)
EVEN = Ratio(1.0, 0.99, 1.01)


def proof(values: list[float]) -> Proof:
    spec = TensorSpec("y", "float32", (1,))
    return Proof(Path("m.onnx"), "test", "1", (), (spec,), {"y": np.array(values, np.float32)[:, None]})


def top1(before: str, after: str, truth: str | None) -> Evaluation:
    one = proof([1.0] * len(before))
    return evaluate(one, one, range(len(before)), "top1", (list(before), list(after)), None if truth is None else list(truth))


def verdict(
    evaluation: Evaluation, *, limits: Limits = LIMITS, size: int = 100, source: int = 1000, speed: Ratio | None = EVEN
) -> list[str]:
    return list(judge(evaluation, limits, Weighed(size, source, speed=speed)).reasons)


def test_with_labels_right_answers_lost_and_won_are_counted() -> None:
    found = top1("aaaabbbb", "aaabbbbc", "aaaaabbb")
    assert found.original_accuracy == pytest.approx(7 / 8)
    assert found.accuracy == pytest.approx(5 / 8)
    assert found.drop == pytest.approx(2 / 8)
    assert found.agreement == pytest.approx(6 / 8)
    assert [d.row for d in found.disagreements] == [3, 7]
    assert found.drop_low is not None and found.drop_high is not None
    assert found.drop_low < found.drop < found.drop_high


def test_without_labels_disagreement_bounds_the_loss() -> None:
    found = top1("a" * 200, "a" * 197 + "bbb", None)
    assert found.drop == pytest.approx(0.015)
    assert verdict(found) == ["may lose up to 1.50 points of accuracy on 200 samples, 1.00 are allowed"]
    assert not verdict(top1("a" * 200, "a" * 199 + "b", None))


def test_intervals_against_published_numbers() -> None:
    # Agresti and Min 2005, adjusted Wald: b = 150, c = 86 of n = 1600 gives 0.02127 to 0.05868 after half a count in each cell.
    low, high = paired_interval(150, 86, 1600)
    assert (low, high) == pytest.approx((0.0212, 0.0587), abs=2e-4)
    # Wilson: 0 of 10 gives 0 to 0.2775.
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_a_drop_beyond_what_is_allowed_is_refused_even_by_force() -> None:
    found = top1("a" * 100, "a" * 95 + "b" * 5, "a" * 100)
    forced = Limits(max_drop=0.01, min_sqnr_db=25, size_mib=1, force=True)
    assert verdict(found) == ["loses 5.00 points of accuracy on 100 samples, 1.00 are allowed"]
    assert verdict(found, limits=forced) == verdict(found)


def test_larger_and_slower_are_refused_unless_forced() -> None:
    same = top1("ab", "ab", "ab")
    slow = Ratio(1.3, 1.2, 1.4)
    reasons = verdict(same, size=5000, source=1000, speed=slow)
    assert len(reasons) == 2
    assert "larger than the source (5000 bytes against 1000)" in reasons[0]
    assert "slower than the source on this machine (1.30 times its latency" in reasons[1]
    forced = judge(same, Limits(0.01, 25, 1, force=True), Weighed(5000, 1000, speed=slow))
    assert forced.passed
    assert list(forced.overridden) == reasons
    assert not verdict(same, speed=Ratio(1.3, 0.9, 1.6))  # noise is no proof


def test_a_board_too_small_is_no_matter_of_force() -> None:
    same = top1("ab", "ab", "ab")
    assert "budget is 1 MiB" in verdict(same, size=2 << 20, source=3 << 20, limits=Limits(0.01, 25, 1, force=True))[0]


def test_models_that_do_not_classify_are_judged_by_noise() -> None:
    before = proof([1.0, 2.0, 3.0])
    assert not verdict(evaluate(before, proof([1.01, 2.0, 3.0]), range(3), "error", ([], []), None))
    assert "signal to noise" in verdict(evaluate(before, proof([1.5, 2.0, 3.0]), range(3), "error", ([], []), None))[0]


def test_numbers_that_are_none_are_refused() -> None:
    broken = evaluate(proof([1.0]), proof([float("nan")]), range(1), "error", ([], []), None)
    assert verdict(broken) == ["gives NaN or infinity where the original gives numbers"]


def test_too_few_samples_are_said_to_be_too_few() -> None:
    judged = judge(top1("ab" * 10, "ab" * 10, "ab" * 10), LIMITS, Weighed(1, 1))
    assert judged.passed
    assert "20 samples are too few to be sure" in judged.notes[0]


def test_a_ratio_is_taken_round_by_round() -> None:
    reference = [10.0, 20.0, 10.0, 40.0, 10.0, 10.0, 10.0, 10.0, 10.0]
    found = ratio([2 * value for value in reference], reference)
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)


def outputs(**values: list[list[float]]) -> Proof:
    arrays = {name: np.array(rows, np.float32) for name, rows in values.items()}
    specs = tuple(TensorSpec(name, "float32", (1, array.shape[1])) for name, array in arrays.items())
    return Proof(Path("m.onnx"), "test", "1", (), specs, arrays)


BIG, SMALL, LOST = [[1e4, -2e4], [3e4, 1e4]], [[0.1, -0.2], [0.3, 0.1]], [[0.0, 0.0], [0.0, 0.0]]


def test_a_large_output_does_not_hide_a_small_one() -> None:
    found = evaluate(outputs(big=BIG, small=SMALL), outputs(big=BIG, small=LOST), range(2), "error", ([], []), None)
    assert verdict(found) == ["its output small is too far from the original's (signal to noise 0.0 dB, 25 asked)"]


def test_an_output_beside_the_classes_is_judged_too() -> None:
    before, after, classes = outputs(big=BIG, small=SMALL), outputs(big=BIG, small=LOST), (["a", "b"], ["a", "b"])
    found = evaluate(before, after, range(2), "top1", classes, ["a", "b"], None, "big")
    assert verdict(found) == ["its output small is too far from the original's (signal to noise 0.0 dB, 25 asked)"]
    assert not verdict(evaluate(before, after, range(2), "top1", classes, ["a", "b"]))  # the device was told to read one only


def test_a_value_that_is_drowned_by_larger_ones_is_said() -> None:
    before = outputs(y=[[1e4, 0.1, 7.0], [-2e4, -0.2, 7.0], [3e4, 0.3, 7.0]])
    after = outputs(y=[[1e4, 0.0, 7.0], [-2e4, 0.0, 7.0], [3e4, 0.0, 7.0]])
    judged = judge(evaluate(before, after, range(3), "error", ([], []), None), LIMITS, Weighed(1, 1))
    assert judged.passed
    assert "output y: of its values 1 (from 0) nothing is left but noise" in judged.notes[0]


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e20])
def test_equal_outputs_are_exact_whatever_their_scale(scale: float) -> None:
    one = proof([scale, 2 * scale])
    assert evaluate(one, one, range(2), "error", ([], []), None).sqnr_db == 200


def test_outputs_are_paired_by_name() -> None:
    one, turned = outputs(a=BIG, b=SMALL), outputs(b=SMALL, a=BIG)
    assert evaluate(one, turned, range(2), "error", ([], []), None).max_abs_error == 0


def test_samples_of_one_class_prove_little() -> None:
    for truth in ("a" * 400, None):
        assert "of one class" in judge(top1("a" * 400, "a" * 400, truth), LIMITS, Weighed(1, 1)).notes[0]


def test_a_loss_that_is_no_number_passes_nothing() -> None:
    lost = Evaluation("regressor", 9, 0.0, 100.0, finite=True, drop=float("nan"), measure="R²")
    assert verdict(lost) == ["its R² cannot be told from these samples"]
