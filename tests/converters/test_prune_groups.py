"""Channels that go together go together, whatever joins them, and the narrower network still loads, runs and has the same face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_nets import Net, feeds

from converters.model import Graph, to_bytes
from converters.prune.cost import cost
from converters.prune.cut import narrowed
from converters.prune.groups import channel_groups
from edge_agent.runtimes.choose import load_model_file


def chain(n: Net) -> str:
    x = n.node("Relu", n.conv("x", 8, 3, pads=[1, 1, 1, 1]))
    return n.head(n.node("MaxPool", n.conv(x, 12, 8, pads=[1, 1, 1, 1]), kernel_shape=[2, 2], strides=[2, 2]), 12 * 16)


def residual(n: Net) -> str:
    x = n.conv("x", 8, 3)
    return n.head(n.node("GlobalAveragePool", n.node("Add", n.conv(x, 8, 8, pads=[1, 1, 1, 1]), x)), 8)


def depthwise(n: Net) -> str:
    x = n.conv("x", 8, 3)
    return n.head(n.node("GlobalAveragePool", n.conv(n.conv(x, 16, 8, group=8), 10, 16, 1)), 10)


def concat(n: Net) -> str:
    left, right = n.conv("x", 6, 3), n.conv("x", 4, 3)
    return n.head(n.node("GlobalAveragePool", n.conv(n.node("Concat", left, right, axis=1), 8, 10)), 8)


def per_channel(n: Net) -> str:
    x = n.node("Mul", n.conv("x", 8, 3), n.constant(n.random.normal(size=(8, 1, 1))))
    x = n.node("PRelu", n.node("Add", x, n.constant(n.random.normal(size=(1, 8, 1, 1)))), n.constant(n.random.uniform(0, 1, (8, 1, 1))))
    return n.head(n.node("GlobalAveragePool", x), 8)


def gate(n: Net) -> str:
    x = n.conv("x", 8, 3)
    side = n.node("Sigmoid", n.conv(n.node("GlobalAveragePool", x), 8, 8, 1))
    return n.head(n.node("GlobalAveragePool", n.node("Mul", x, side)), 8)


def reshaped(n: Net) -> str:
    x = n.node("GlobalAveragePool", n.conv("x", 8, 3))
    return n.dense(n.node("Reshape", x, n.constant([1, 8], "int64")), 8, 5)


def unknown(n: Net) -> str:
    return n.head(n.node("Transpose", n.conv("x", 8, 3), perm=[0, 2, 3, 1]), 6 * 6 * 8)


def grouped(n: Net) -> str:
    return n.head(n.node("GlobalAveragePool", n.conv(n.conv("x", 8, 3), 8, 8, group=2)), 8)


PRUNABLE: dict[str, tuple[Callable[[Net], str], list[int]]] = {
    "chain": (chain, [8, 12]),
    "residual": (residual, [8]),
    "depthwise": (depthwise, [8, 10]),
    "concat": (concat, [4, 6, 8]),
    "per channel": (per_channel, [8]),
    "gate": (gate, [8]),
    "reshaped": (reshaped, [8]),
}


def built(build: Callable[[Net], str]) -> Graph:
    n = Net()
    return n.graph(build(n))


def answer(graph: Graph, folder: Path, name: str) -> np.ndarray:
    path = folder / f"{name}.onnx"
    path.write_bytes(to_bytes(graph))
    return np.concatenate([load_model_file(path).run(feed)[graph.outputs[0].name] for feed in feeds((1, 3, 8, 8), 2)])


@pytest.mark.parametrize("name", PRUNABLE)
def test_a_channel_of_zeros_can_go_without_a_trace(name: str, tmp_path: Path) -> None:
    """Half of each group is first made to give nothing, by the weights that read it; taking it out must then change no answer."""
    graph = built(PRUNABLE[name][0])
    groups = channel_groups(graph)
    assert sorted(groups.sizes.values()) == PRUNABLE[name][1]
    for group, size in groups.sizes.items():
        keep = {group: np.arange(0, size, 2)}
        silent = _silenced(graph, groups, group, np.arange(1, size, 2))
        thin = narrowed(silent, groups, keep)
        assert cost(thin).params < cost(graph).params
        np.testing.assert_allclose(answer(thin, tmp_path, "thin"), answer(silent, tmp_path, "silent"), atol=1e-5)


@pytest.mark.parametrize("build", [unknown, grouped])
def test_what_is_not_understood_is_not_touched(build: Callable[[Net], str]) -> None:
    graph = built(build)
    groups = channel_groups(graph)
    cut = {cut.name for cut in groups.cuts if any(span.group in groups.sizes for span in cut.spans)}
    assert graph.nodes[0].input[1] not in cut


def test_the_models_own_inputs_and_outputs_keep_their_sizes() -> None:
    graph = built(chain)
    groups = channel_groups(graph)
    thin = narrowed(graph, groups, {group: np.arange(size // 2) for group, size in groups.sizes.items()})
    assert thin.inputs == graph.inputs
    assert [spec.name for spec in thin.outputs] == [spec.name for spec in graph.outputs]
    assert thin.constants[thin.nodes[-1].input[1]].shape[0] == 5


def test_weights_that_two_layers_share_are_left_alone() -> None:
    n = Net()
    shared = n.weights(3, 3, 1, 1)
    x = n.node("Conv", n.node("Conv", "x", shared), shared)
    graph = n.graph(n.head(n.node("GlobalAveragePool", x), 3))
    assert not channel_groups(graph).sizes


def test_cost_counts_multiplications_and_parameters() -> None:
    n = Net()
    found = cost(n.graph(n.head(n.conv("x", 4, 3, strides=[2, 2]), 4 * 9)))
    assert found.macs == 4 * 3 * 9 * 9 + 36 * 5
    assert found.params == 4 * 3 * 9 + 4 + 36 * 5 + 5


def _silenced(graph: Graph, groups: object, group: int, gone: np.ndarray) -> Graph:
    """``graph`` in which no layer listens to the channels ``gone`` of ``group``."""
    from converters.prune.groups import Groups
    from converters.prune.spans import channel_rows

    assert isinstance(groups, Groups)
    constants = dict(graph.constants)
    for layer in groups.layers:
        if layer.depthwise:
            continue
        for owner, rows in channel_rows(layer.inputs):
            if owner == group:
                name = graph.nodes[layer.index].input[1]
                weight = constants[name].copy()
                weight[:, rows[gone].reshape(-1)] = 0
                constants[name] = weight
    return graph.edited(graph.nodes, constants)
