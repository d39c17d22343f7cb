"""Narrower networks that answer nearly as before, from samples without labels; the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from tiny_nets import Net

from benchmarks.nets.digits import images, model
from converters.errors import InputError
from converters.load import load_source
from converters.model import Graph, to_bytes
from converters.passes.run import run_passes
from converters.prune.allocate import allocate, uniform
from converters.prune.budget import Budget
from converters.prune.cost import cost
from converters.prune.groups import channel_groups
from converters.prune.learn import gradients
from converters.prune.masks import magnitude_mask, n_of_m_mask
from converters.prune.polish import lessons
from converters.prune.prune import polished, prune_all, prune_graph
from converters.prune.rows import input_rows, window_of
from converters.prune.study import Study, outputs_of, study
from converters.prune.tape import channels_last, forward
from converters.prune.weigh import Burden, Weighing
from converters.workshop import Workshop
from edge_agent.errors import ModelError

SAMPLES = 96


@pytest.fixture(scope="module")
def plain() -> Graph:
    graph = load_source(model("plain")).graph
    assert graph is not None
    return run_passes(graph)[0]


@pytest.fixture(scope="module")
def learnt(plain: Graph) -> Iterator[Study]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converters.prune.rows.MAX_ROWS", 2000)
        patch.setattr("converters.prune.study.PROBES", 8)
        yield study(plain, [{"image": image[None]} for image in images("plain")[0][:SAMPLES]])


def test_half_the_cost_goes_and_the_answers_stay(plain: Graph, learnt: Study) -> None:
    made = prune_graph(learnt, 0.5)
    full = cost(plain)
    assert made.macs < 0.6 * full.macs and made.params < 0.6 * full.params
    assert (made.macs, made.params) == (cost(made.graph).macs, cost(made.graph).params)
    assert made.layers[-1].before == made.layers[-1].after == 10
    test = [{"image": image[None]} for image in images("plain")[2][:200]]
    agreement = (outputs_of(made.graph, test).argmax(1) == outputs_of(plain, test).argmax(1)).mean()
    assert agreement >= 0.98


def test_what_is_allocated_promises_less_error_than_the_same_share_everywhere(learnt: Study) -> None:
    burden, sizes = Burden(learnt.groups, cost(learnt.graph)), learnt.groups.sizes

    def promised(kept: Mapping[int, int]) -> float:
        return sum(float(one.error[sizes[one.group] - kept[one.group]]) for one in learnt.sensitivities)

    for target in (0.6, 0.3, 0.15):
        even = uniform(learnt.groups, burden, target)
        searched = allocate(learnt.groups, learnt.sensitivities, burden, burden.share(even))
        assert burden.share(searched) <= burden.share(even)
        assert promised(searched) <= promised(even)


def test_polishing_brings_the_answers_nearer(learnt: Study) -> None:
    plainly, taught = prune_graph(learnt, 0.15), lessons(learnt.graph, learnt.feeds)
    assert taught is not None
    learned = polished(learnt, plainly, taught, 4e9, Budget(1e6))
    assert learned.error < plainly.error
    assert learned.layers == plainly.layers


def test_time_that_is_up_leaves_what_is_done_with_a_note(plain: Graph, learnt: Study) -> None:
    with pytest.raises(ModelError, match="time was up"):
        prune_all(learnt, (0.3,), Budget(0.0))

    class OneLeft(Budget):
        """Runs out once a first network is made."""

        def spent_s(self) -> float:
            return 0.0 if next(asked, None) else 2.0

    layers = len(learnt.groups.layers)
    asked = iter([True] * (layers + 3))
    (only,) = prune_all(learnt, (0.3, 0.15, 0.1), OneLeft(1.0))
    assert only.share == 0.3 and cost(only.graph).macs < cost(plain).macs
    assert any("2 more shares were left out" in note for note in only.notes) and any("not polished" in note for note in only.notes)
    with pytest.raises(ModelError, match="time was up"):
        study(plain, learnt.feeds[:16], budget=Budget(0.0))


def test_layers_too_wide_to_be_ranked_keep_their_channels(plain: Graph, learnt: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for where in ("observe", "recover"):
        monkeypatch.setattr(f"converters.prune.{where}.MAX_INPUTS", 300)
    made = prune_graph(study(plain, learnt.feeds[:24]), 0.3)
    assert made.layers[1].after == made.layers[1].before and any(layer.after < layer.before for layer in made.layers)
    monkeypatch.setattr("converters.prune.observe.MAX_INPUTS", 1)
    with pytest.raises(ModelError, match="too wide"):
        study(plain, learnt.feeds[:24])
    monkeypatch.setattr("converters.prune.observe.MAX_HELD_BYTES", 1)
    with pytest.raises(ModelError, match="too large"):
        study(plain, learnt.feeds[:24])


def test_channels_that_go_several_at_once_go_in_about_the_same_order(plain: Graph, learnt: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.prune.importance.MAX_VALUES", 1e5)
    coarse = study(plain, learnt.feeds[:32])
    for group, ranking in coarse.rankings.items():
        assert sorted(ranking.order) == list(range(len(ranking.loss))) == list(range(learnt.groups.sizes[group]))
        half = len(ranking.order) // 2
        assert len({*ranking.order[:half]} & {*learnt.rankings[group].order[:half]}) > 0.6 * half


def test_allocation_reaches_any_target_it_can_and_ends(learnt: Study) -> None:
    burden = Burden(learnt.groups, cost(learnt.graph))
    for target in (0.9, 0.5, 0.2):
        kept = allocate(learnt.groups, learnt.sensitivities, burden, target)
        assert burden.share(kept) <= target
        assert all(0 < kept[group] <= size for group, size in learnt.groups.sizes.items())
    least = allocate(learnt.groups, learnt.sensitivities, burden, 0.0)
    assert all(count > 0 for count in least.values())


def test_part_of_a_tile_saves_hardly_any_time_and_savings_add_up(plain: Graph) -> None:
    groups = channel_groups(plain)
    burden = Burden(groups, cost(plain), Weighing(time=1.0))
    wide, *_ = (group for group, size in groups.sizes.items() if size == 64)
    whole = dict(groups.sizes)
    assert burden.share(whole) == pytest.approx(1.0)
    assert burden.saved(whole, wide, 56) < 0.4 * burden.saved(whole, wide, 48)
    for balanced in (burden, Burden(groups, cost(plain))):
        saved = balanced.share(whole) - balanced.share({**whole, wide: 24})
        assert balanced.saved(whole, wide, 24) == pytest.approx(saved)


def test_the_job_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    n = Net()
    x = n.node("Clip", n.conv("x", 16, 3), n.constant(0.0), n.constant(6.0))
    x = n.node("Relu", n.node("Add", n.conv(n.conv(x, 16, 16, group=16, pads=[1, 1, 1, 1]), 16, 16, 1), x))
    graph = n.graph(n.head(n.node("GlobalAveragePool", x), 16))
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(0).normal(size=(40, 3, 8, 8)).astype(np.float32))
    workshop = Workshop(tmp_path, tmp_path / "samples.npz", ())
    (first,), (second,) = (workshop.prune(graph, range(40), (0.4,)) for _ in range(2))
    assert to_bytes(first.graph) == to_bytes(second.graph)
    assert first.share == 0.4 and first.macs < cost(graph).macs


def test_a_network_without_spare_channels_says_so(tmp_path: Path) -> None:
    n = Net()
    graph = n.graph(n.head("x", 3 * 64))
    np.savez(tmp_path / "samples.npz", x=np.zeros((20, 3, 8, 8), np.float32))
    with pytest.raises(ModelError, match="no layer has channels"):
        Workshop(tmp_path, tmp_path / "samples.npz", ()).prune(graph, range(20), (0.5,))


@pytest.mark.parametrize(
    "options",
    [
        {"pads": [1, 1, 1, 1]},
        {"strides": [2, 2], "pads": [0, 1, 1, 0]},
        {"dilations": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [3, 3]},
    ],
)
def test_rows_times_weights_is_the_convolution(options: dict[str, object]) -> None:
    n = Net()
    graph = n.graph(n.conv("x", 4, 3, bias=False, **options))
    x = n.random.normal(size=(1, 3, 8, 8)).astype(np.float32)
    wanted = outputs_of(graph, [{"x": x}])[0].reshape(4, -1)
    weight = graph.constants[graph.nodes[0].input[1]]
    rows = input_rows([x], window_of(graph.nodes[0], weight, (8, 8)), np.arange(wanted.shape[1])[None])
    np.testing.assert_allclose((rows.reshape(len(rows), -1) @ weight.reshape(4, -1).T).T, wanted, atol=1e-4)
    found, _ = forward(graph.nodes[0], [channels_last(x), weight])
    np.testing.assert_allclose(found[0].reshape(-1, 4).T, wanted, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"strides": [2, 2]}, {"dilations": [2, 2]}, {"strides": [3, 2], "dilations": [1, 2]}])
@pytest.mark.parametrize("group", [1, 3])
def test_gradients_of_convolutions_are_those_of_small_differences(group: int, options: dict[str, object]) -> None:
    n = Net()
    node = n.graph(n.conv("x", 3, 3, group=group, pads=[1, 1, 0, 1], **options)).nodes[-1]
    x, w, b = (n.random.normal(size=shape) for shape in ((2, 7, 6, 3), (3, 3 // group, 3, 3), (3,)))
    _check_gradients(node, [x, w, b], n.random)


def test_gradients_of_other_operators_are_those_of_small_differences() -> None:
    n = Net()
    pool = n.graph(n.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])).nodes[-1]
    _check_gradients(pool, [n.random.normal(size=(2, 6, 6, 3))], n.random)
    dense = n.graph(n.dense("x", 7, 4)).nodes[-1]
    _check_gradients(dense, [n.random.normal(size=shape) for shape in ((5, 7), (4, 7), (4,))], n.random)


def test_a_whole_network_runs_as_in_the_runtime_and_its_slope_is_right() -> None:
    n = Net()
    x = n.node("Clip", n.conv("x", 4, 3, strides=[2, 2], pads=[1, 1, 1, 1]), n.constant(-0.5), n.constant(0.5))
    x = n.node("Relu", n.node("Add", n.conv(n.conv(x, 4, 4, pads=[1, 1, 1, 1]), 4, 4, 3, group=4, pads=[1, 1, 1, 1]), x))
    x = n.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    graph = n.graph(n.dense(n.node("Flatten", x), 16, 5))
    given = n.random.normal(size=(3, 3, 8, 8)).astype(np.float32)
    weights = {name: array.astype(np.float64) for name, array in graph.constants.items() if array.ndim}
    slope = n.random.normal(size=(3, 5))
    seen: list[np.ndarray] = []

    def sloped(made: np.ndarray) -> np.ndarray:
        seen.append(made)
        return slope

    def score(moved: dict[str, np.ndarray]) -> float:
        gradients(graph, moved, channels_last(given).astype(np.float64), sloped)
        return float((seen[-1] * slope).sum())

    found = gradients(graph, weights, channels_last(given).astype(np.float64), sloped)
    np.testing.assert_allclose(seen[0], outputs_of(graph, [{"x": image[None]} for image in given]), atol=1e-5)
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        step = 1e-6 * n.random.normal(size=array.shape)
        change = score({**weights, name: array + step}) - score({**weights, name: array - step})
        assert change / 2 == pytest.approx(float((found[name] * step).sum()), rel=1e-3, abs=1e-10)


def test_masks_zero_what_they_say_and_promise_no_speed(plain: Graph) -> None:
    masked = magnitude_mask(plain, 0.5)
    assert masked.share == pytest.approx(0.5, abs=0.01)
    assert any("not faster" in note for note in masked.notes)
    for axis, name in ((1, plain.nodes[2].input[1]), (1, plain.nodes[-1].input[1])):
        kept = np.moveaxis(n_of_m_mask(plain).graph.constants[name], axis, -1) != 0
        assert (kept.reshape(-1, 4).sum(axis=1) <= 2).all()
    with pytest.raises(InputError, match="share"):
        magnitude_mask(plain, 1.0)
    with pytest.raises(InputError, match="4 of 4"):
        n_of_m_mask(plain, 4, 4)


def _check_gradients(node: object, inputs: list[np.ndarray], random: np.random.Generator) -> None:
    output, back = forward(node, inputs)
    gradient = random.normal(size=output.shape)
    for index, found in enumerate(back(gradient)):
        direction = random.normal(size=inputs[index].shape)
        moved = [array + 1e-6 * direction if i == index else array for i, array in enumerate(inputs)]
        change = (forward(node, moved)[0] - output) / 1e-6
        assert (found * direction).sum() == pytest.approx((gradient * change).sum(), rel=1e-3)
