"""Passes keep what they promise, and say so when they did nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_nets import NETS, Net, feeds, make

from converters.errors import InputError, PassError
from converters.model import Graph, to_bytes
from converters.passes.contract import Pass
from converters.passes.fix_shapes import fix_shapes, free_inputs, shapes_from_samples
from converters.passes.prove import prove_passes
from converters.passes.run import STANDARD, run_passes
from edge_agent.runtimes.choose import load_model_file


def answers(graph: Graph, folder: Path, count: int = 3) -> list[np.ndarray]:
    path = folder / "net.onnx"
    path.write_bytes(to_bytes(graph))
    runtime = load_model_file(path)
    shape = tuple(1 if size is None else size for size in graph.inputs[0].shape)
    return [runtime.run(feed)[graph.outputs[0].name] for feed in feeds(shape, count)]


def ops(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def assert_same(before: Graph, after: Graph, folder: Path) -> None:
    for left, right in zip(answers(before, folder), answers(after, folder), strict=True):
        np.testing.assert_allclose(right, left, atol=1e-5, rtol=1e-4)


def batch_norm(n: Net, x: str, channels: int) -> str:
    gamma, beta, mean = (n.constant(n.random.normal(0, 1, channels)) for _ in range(3))
    return n.node("BatchNormalization", x, gamma, beta, mean, n.constant(n.random.uniform(0.5, 2, channels)))


@pytest.mark.parametrize("name", NETS)
def test_all_passes_together_keep_the_answers(name: str, tmp_path: Path) -> None:
    graph, _ = make(name)
    after, _ = run_passes(graph)
    assert_same(graph, after, tmp_path)


@pytest.mark.parametrize("bias", [True, False])
def test_batch_normalization_is_folded_into_the_layer_before(bias: bool, tmp_path: Path) -> None:
    n = Net()
    graph = n.graph(n.node("Relu", batch_norm(n, n.conv("x", 6, 3, bias=bias), 6)))
    after, results = run_passes(graph)
    assert ops(after) == ["Conv", "Relu"]
    assert [r.name for r in results if r.changed] == ["fold_batch_norm"]
    assert_same(graph, after, tmp_path)


def test_batch_normalization_stays_when_someone_else_reads_the_layer(tmp_path: Path) -> None:
    n = Net()
    first = n.conv("x", 6, 3)
    graph = n.graph(n.node("Add", batch_norm(n, first, 6), first))
    after, _ = run_passes(graph)
    assert "BatchNormalization" in ops(after)
    assert_same(graph, after, tmp_path)


def test_matrix_product_and_bias_become_one_dense_layer(tmp_path: Path) -> None:
    n = Net((1, 12))
    product = n.node("MatMul", "x", n.weights(12, 5))
    unrolled = n.node("Mul", n.node("Add", product, n.constant([1, 2, 3, 4, 5])), n.constant([2, 1, 2, 1, 2]))
    graph = n.graph(n.node("Add", n.constant([0.5] * 5), unrolled))
    after, _ = run_passes(graph)
    assert ops(after) == ["Gemm"]
    assert_same(graph, after, tmp_path)


def test_a_constant_that_varies_within_a_channel_is_not_folded(tmp_path: Path) -> None:
    n = Net()
    graph = n.graph(n.node("Add", n.conv("x", 6, 3), n.constant(n.random.normal(0, 1, (1, 6, 6, 6)))))
    after, _ = run_passes(graph)
    assert ops(after) == ["Conv", "Add"]
    assert_same(graph, after, tmp_path)


def test_nodes_that_do_nothing_and_constants_that_can_be_computed_go(tmp_path: Path) -> None:
    n = Net((1, 12))
    computed = n.node("Mul", n.constant(np.ones(12) * 3), n.constant(2.0))
    dropped = n.node("Dropout", n.node("Identity", n.node("Add", "x", computed)))
    graph = n.graph(n.dense(dropped, 12, 5))
    after, _ = run_passes(graph)
    assert ops(after) == ["Add", "Gemm"]
    assert_same(graph, after, tmp_path)


def test_a_free_batch_becomes_one_and_an_old_operator_set_is_raised() -> None:
    n = Net(("batch", 12))
    after, _ = run_passes(n.graph(n.dense("x", 12, 5), opset=11))
    assert after.inputs[0].shape == (1, 12)
    assert after.outputs[0].shape == (1, 5)
    assert after.opset == 13


def test_another_free_dimension_stays_until_someone_says_its_size() -> None:
    n = Net(("batch", "steps"))
    graph = n.graph(n.node("Relu", "x"))
    after, _ = run_passes(graph)
    assert after.inputs[0].shape == after.outputs[0].shape == (1, None)
    assert "give --shape x=1,N" in free_inputs(after)[0]
    fixed, _ = run_passes(fix_shapes(graph, {"x": (1, 7)}))
    assert fixed.outputs[0].shape == (1, 7)
    assert free_inputs(fixed) == ()


@pytest.mark.parametrize("shape", [(1,), (1, 0), (1, 7, 1)])
def test_a_shape_that_the_model_does_not_take_is_refused(shape: tuple[int, ...]) -> None:
    n = Net(("batch", "steps"))
    graph = n.graph(n.node("Relu", "x"))
    with pytest.raises(InputError, match="the model takes \\(free, free\\)"):
        fix_shapes(graph, {"x": shape})
    with pytest.raises(InputError, match="has no input y; it has x"):
        fix_shapes(graph, {"y": shape})


def test_samples_tell_free_sizes_with_or_without_the_batch() -> None:
    n = Net(("batch", 3, "height", "width"))
    graph = n.graph(n.node("Relu", "x"))
    for row in ((3, 20, 30), (1, 3, 20, 30)):
        assert shapes_from_samples(graph, {"x": row}) == shapes_from_samples(graph, {"window": row}) == {"x": (1, 3, 20, 30)}
    assert shapes_from_samples(graph, {"x": (20, 30, 3)}) == shapes_from_samples(graph, {"y": (3, 2, 2)}) == {}


def test_a_pass_that_finds_nothing_gives_the_same_graph_back() -> None:
    graph, _ = make("plain")
    clean, _ = run_passes(graph)
    again, results = run_passes(clean)
    assert again is clean
    assert not any(result.changed for result in results)


def test_a_pass_that_breaks_its_contract_is_named_with_those_before_it() -> None:
    graph, _ = make("dense")
    first = Pass("first", lambda g: g, ensures=frozenset({"done"}))
    breaking = Pass("breaking", lambda g: g.edited(g.nodes[:-1]))
    with pytest.raises(PassError, match=r"breaking made an invalid graph.*passes before it: first"):
        run_passes(graph, [first, breaking])
    with pytest.raises(PassError, match=r"needy needs more; passes before it: first"):
        run_passes(graph, [first, Pass("needy", lambda g: g, requires=frozenset({"more"}))])


def test_every_standard_pass_says_what_it_is() -> None:
    assert len({step.name for step in STANDARD}) == len(STANDARD)
    assert all(step.equivalent for step in STANDARD)


def off_by_one(graph: Graph) -> Graph:
    """A pass that is wrong: it shifts every bias."""
    return graph.edited(graph.nodes, {name: array + 1 for name, array in graph.constants.items() if array.ndim == 1})


@pytest.mark.parametrize("place", [0, 1, 3, 7])
def test_a_pass_that_changes_the_answers_is_named_with_those_before_it(place: int) -> None:
    graph, _ = make("residual")
    passes = [*STANDARD[:place], Pass("off_by_one", off_by_one), *STANDARD[place:]]
    with pytest.raises(PassError, match=r"pass off_by_one changed what the network computes .*output .* is off by"):
        prove_passes(graph, passes)
    approximate = [*STANDARD[:place], Pass("off_by_one", off_by_one, equivalent=False), *STANDARD[place:]]
    assert prove_passes(graph, approximate) == ""


@pytest.mark.parametrize("name", NETS)
def test_the_standard_passes_are_proven_on_made_up_inputs(name: str) -> None:
    assert prove_passes(make(name)[0]) == ""


def test_a_network_that_refuses_made_up_inputs_is_left_to_the_real_samples() -> None:
    n = Net((1, 4))
    far = n.node("Add", n.node("Cast", "x", to=7), n.constant(1000, "int64"))
    graph = n.graph(n.node("Gather", n.node("Identity", n.constant([1.0, 2.0])), far))
    assert "does not run on made-up inputs" in prove_passes(graph)
