"""A narrowed and recovered network goes on learning from the original: gradient steps on the squared difference of their outputs.

Distillation without labels and without a framework (Adam in numpy). Besides the samples themselves it sees blends of two of them and, for
images, small shifts: whatever they show, what the original answers there is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.model import Graph
from converters.prune.cost import cost
from converters.prune.tape import forward, supported
from converters.prune.walk import opened
from converters.shapes import infer_shapes

BATCH = 32
WORK_MACS = 65e9
"""Spent at most on one network, forward and backward; it sets the number of rounds, so that the same input gives the same weights."""
MAX_ROUNDS = 200
MIN_ROUNDS = 3
RATE = 3e-3
VARIANTS = 16
"""Made of each sample, for the rounds to choose from: with fewer, the fit is better and the answers to new samples are not."""


def polish(graph: Graph, original: Graph, feeds: Sequence[Mapping[str, Any]], seed: int = 0) -> Graph:
    """``graph`` with weights moved towards the answers of ``original`` on ``feeds``; the same graph when it has an operator that cannot be
    followed backwards, several inputs or outputs, or is too large for a few rounds."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or not supported(graph, infer_shapes(graph)):
        return graph
    name = graph.inputs[0].name
    samples = np.concatenate([np.asarray(feed[name], np.float32) for feed in feeds])
    rounds = int(min(MAX_ROUNDS, WORK_MACS / (3 * max(cost(graph).macs, 1) * len(samples))))
    if rounds < MIN_ROUNDS or len(samples) != len(feeds):
        return graph
    draw = np.random.default_rng(seed)
    shown = np.concatenate([samples, *(varied(samples, draw) for _ in range(VARIANTS))])
    run = opened(original)
    answers = np.concatenate([run({name: sample[None]})[0] for sample in shown])
    return _learn(graph, shown, answers, len(samples) * rounds // BATCH, draw)


def varied(samples: Any, draw: np.random.Generator) -> Any:
    """One more of each sample: blended with another, and shifted by up to a sixteenth of its sides where it is an image."""
    part = draw.uniform(0.6, 1.0, (len(samples), *(1,) * (samples.ndim - 1))).astype(np.float32)
    made = part * samples + (1 - part) * samples[draw.permutation(len(samples))]
    if samples.ndim == 4:
        reach = [max(side // 16, 1) for side in samples.shape[2:]]
        moves = [draw.integers(-most, most + 1, len(samples)) for most in reach]
        made = np.stack([np.roll(image, move, (1, 2)) for image, move in zip(made, zip(*moves, strict=True), strict=True)])
    return made


def _learn(graph: Graph, shown: Any, answers: Any, steps: int, draw: np.random.Generator) -> Graph:
    names = {name for node in graph.nodes if node.op_type in ("Conv", "Gemm") for name in node.input[1:] if name}
    weights = {name: graph.constants[name].astype(np.float32) for name in sorted(names)}
    first, second = ({name: np.zeros_like(array) for name, array in weights.items()} for _ in range(2))
    scale = np.float32(1 / max(float(answers.var(axis=0).mean()), 1e-12))
    for index in range(1, steps + 1):
        chosen = draw.integers(0, len(shown), BATCH)
        gradients = _gradients(graph, weights, shown[chosen], answers[chosen], scale)
        rate = RATE * 0.5 * (1 + np.cos(np.pi * index / steps)) * min(1.0, index / 50)
        for name, gradient in gradients.items():
            first[name] += 0.1 * (gradient - first[name])
            second[name] += 0.001 * (gradient * gradient - second[name])
            step = (first[name] / (1 - 0.9**index)) / (np.sqrt(second[name] / (1 - 0.999**index)) + 1e-8)
            weights[name] = (weights[name] - rate * step).astype(np.float32)
    return graph.edited(graph.nodes, weights)


def _gradients(graph: Graph, weights: Mapping[str, Any], batch: Any, wanted: Any, scale: Any) -> dict[str, Any]:
    """Of the squared difference from ``wanted``, by the name of the weights."""
    values = {graph.inputs[0].name: batch, "": None}
    backs = []
    for node in graph.nodes:
        inputs = [weights.get(name, graph.constants.get(name)) if name not in values else values[name] for name in node.input]
        values[node.output[0]], back = forward(node, inputs)
        backs.append(back)
    output = graph.outputs[0].name
    pending = {output: (values[output] - wanted) * (2 * scale / wanted.size)}
    for node, back in zip(reversed(graph.nodes), reversed(backs), strict=True):
        gradient = pending.pop(node.output[0], None)
        if gradient is None:
            continue
        for name, part in zip(node.input, back(gradient), strict=False):
            if part is not None and (name in weights or name in values):
                pending[name] = pending[name] + part if name in pending else part
    return {name: pending[name] for name in weights if name in pending}
