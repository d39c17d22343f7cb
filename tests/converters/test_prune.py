"""Narrower networks that answer nearly as before, from samples without labels; the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_nets import Net

from benchmarks.nets.digits import images, model
from converters.errors import InputError
from converters.load import load_source
from converters.model import Graph, to_bytes
from converters.passes.run import run_passes
from converters.prune.allocate import BALANCED, allocate, cost_share
from converters.prune.cost import cost
from converters.prune.masks import magnitude_mask, n_of_m_mask
from converters.prune.prune import prune_graph
from converters.prune.rows import input_rows, window_of
from converters.prune.study import Study, outputs_of, study
from converters.prune.tape import forward
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
        yield study(plain, [{"image": image[None]} for image in images("plain")[0][:SAMPLES]])


def test_half_the_cost_goes_and_the_answers_stay(plain: Graph, learnt: Study) -> None:
    made = prune_graph(learnt, 0.5, polished=False)
    full = cost(plain)
    assert made.macs < 0.6 * full.macs and made.params < 0.6 * full.params
    assert (made.macs, made.params) == (cost(made.graph).macs, cost(made.graph).params)
    assert made.layers[-1].before == made.layers[-1].after == 10
    test = [{"image": image[None]} for image in images("plain")[2][:200]]
    agreement = (outputs_of(made.graph, test).argmax(1) == outputs_of(plain, test).argmax(1)).mean()
    assert agreement >= 0.98


def test_measured_shares_beat_the_same_share_everywhere(learnt: Study) -> None:
    even = prune_graph(learnt, 0.3, even=True, polished=False)
    share = cost_share(learnt.groups, cost(learnt.graph), BALANCED)
    width = {learnt.groups.layers[index].outputs[0].group: layer.after for index, layer in enumerate(even.layers)}
    searched = prune_graph(learnt, share({group: width[group] for group in learnt.groups.sizes}), polished=False)
    assert searched.error < even.error


def test_polishing_brings_the_answers_nearer(learnt: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.prune.polish.MAX_ROUNDS", 40)
    plainly, polished = (prune_graph(learnt, 0.15, polished=on) for on in (False, True))
    assert polished.error < plainly.error
    assert polished.layers == plainly.layers


def test_allocation_reaches_any_target_it_can_and_ends(learnt: Study) -> None:
    share = cost_share(learnt.groups, cost(learnt.graph), BALANCED)
    for target in (0.9, 0.5, 0.2):
        kept = allocate(learnt.groups, learnt.sensitivities, share, target)
        assert share(kept) <= target
        assert all(0 < kept[group] <= size for group, size in learnt.groups.sizes.items())
    least = allocate(learnt.groups, learnt.sensitivities, share, 0.0)
    assert all(count > 0 for count in least.values())


def test_the_job_gives_the_same_bytes_twice(tmp_path: Path) -> None:
    n = Net()
    x = n.node("Clip", n.conv("x", 16, 3), n.constant(0.0), n.constant(6.0))
    x = n.node("Relu", n.node("Add", n.conv(n.conv(x, 16, 16, group=16, pads=[1, 1, 1, 1]), 16, 16, 1), x))
    graph = n.graph(n.head(n.node("GlobalAveragePool", x), 16))
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(0).normal(size=(40, 3, 8, 8)).astype(np.float32))
    workshop = Workshop(tmp_path, tmp_path / "samples.npz", ())
    first, second = (workshop.prune(graph, range(40), (0.8, 0.4)) for _ in range(2))
    assert [to_bytes(made.graph) for made in first] == [to_bytes(made.graph) for made in second]
    assert [made.share for made in first] == [0.8, 0.4]
    assert first[1].macs < first[0].macs < cost(graph).macs


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
    found, _ = forward(graph.nodes[0], [x, weight])
    np.testing.assert_allclose(found[0].reshape(4, -1), wanted, atol=1e-4)


def test_gradients_are_those_of_small_differences() -> None:
    n = Net()
    for group, inputs in ((1, 3), (3, 1)):
        node = n.graph(n.conv("x", 3, 3, group=group, pads=[1, 1, 1, 1], strides=[2, 2])).nodes[-1]
        x, w, b = (n.random.normal(size=shape) for shape in ((2, 3, 5, 5), (3, inputs, 3, 3), (3,)))
        _check_gradients(node, [x, w, b], n.random)
    pool = n.graph(n.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])).nodes[-1]
    _check_gradients(pool, [n.random.normal(size=(2, 3, 6, 6))], n.random)
    dense = n.graph(n.dense("x", 7, 4)).nodes[-1]
    _check_gradients(dense, [n.random.normal(size=shape) for shape in ((5, 7), (4, 7), (4,))], n.random)


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
