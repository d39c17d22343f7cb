"""A narrowed and recovered network goes on learning from the original: gradient steps on the squared difference of their outputs.

Distillation without labels and without a framework. Besides the samples themselves it sees blends of two of them and, for images, small
shifts: whatever they show, what the original answers there is right. The answers are asked for once, for all shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.model import Graph
from converters.prune.cost import Cost, cost
from converters.prune.learn import BATCH, learn
from converters.prune.tape import channels_last, supported
from converters.prune.walk import opened
from converters.shapes import infer_shapes

VALUE_WORK = 19
"""What moving a value costs beside a multiplication, in numpy as measured on convolutions of 16 to 64 channels."""
MIN_STEPS = 60
MAX_STEPS = 1000
VARIANTS = 16
"""Made of each sample at most, to choose from: with fewer, the fit is better and the answers to new samples are not."""
ANSWER_MACS = 100e9
"""Spent at most on asking the original about them."""
MAX_BYTES = 1 << 28
"""Of all that is shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """``shown``: inputs float32, channels last; ``answers`` of the original, float32 (count, entries)."""

    shown: Any
    answers: Any


def lessons(graph: Graph, feeds: Sequence[Mapping[str, Any]], seed: int = 0) -> Lessons | None:
    """What networks like ``graph`` may learn from; ``None`` where it has an operator that cannot be followed backwards, or several inputs
    or outputs."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or not supported(graph, infer_shapes(graph)):
        return None
    name = graph.inputs[0].name
    samples = np.concatenate([np.asarray(feed[name], np.float32) for feed in feeds])
    if len(samples) != len(feeds):
        return None
    most = min(ANSWER_MACS / max(cost(graph).macs, 1), MAX_BYTES / samples[0].nbytes)
    draw = np.random.default_rng(seed)
    more = [varied(samples, draw) for _ in range(int(min(VARIANTS, most // len(samples))))]
    shown = np.concatenate([samples, *more])
    run = opened(graph)
    answers = np.concatenate([run({name: sample[None]})[0] for sample in shown])
    return Lessons(channels_last(shown), answers.astype(np.float32))


def polish(graph: Graph, taught: Lessons, work: float, *, enough: Callable[[], bool], seed: int = 0) -> Graph:
    """``graph`` with weights moved towards the ``taught`` answers by as many steps as ``work`` (multiplications) allows; the same graph
    where those are too few to help."""
    spent = cost(graph)
    steps = int(min(MAX_STEPS, work / (BATCH * work_of(spent))))
    if steps < MIN_STEPS:
        return graph
    return learn(graph, spent, taught.shown, taught.answers, steps, np.random.default_rng((seed, 1)), enough=enough)


def work_of(spent: Cost) -> float:
    """One sample forward and backward, as so many multiplications."""
    return 3.0 * (spent.macs + VALUE_WORK * sum(node.moved for node in spent.by_node) / 2)


def varied(samples: Any, draw: np.random.Generator) -> Any:
    """One more of each sample: blended with another, and shifted by up to a sixteenth of its sides where it is an image."""
    part = draw.uniform(0.6, 1.0, (len(samples), *(1,) * (samples.ndim - 1))).astype(np.float32)
    made = part * samples + (1 - part) * samples[draw.permutation(len(samples))]
    if samples.ndim == 4:
        reach = [max(side // 16, 1) for side in samples.shape[2:]]
        moves = [draw.integers(-most, most + 1, len(samples)) for most in reach]
        made = np.stack([np.roll(image, move, (1, 2)) for image, move in zip(made, zip(*moves, strict=True), strict=True)])
    return made
