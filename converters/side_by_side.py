"""Timing of models that are only looked at."""

from __future__ import annotations

from pathlib import Path

from converters.isolate import JobServer
from converters.subject import Answers
from converters.timing import Latency, Ratio, latency, ratio
from converters.workshop import Workshop

BUDGET_S = 1.5
SAMPLES = 8


def time_apart(answers: Answers, folder: Path, server: JobServer) -> Latency:
    """One model by itself, one thread."""
    workshop = _workshop(folder, answers, server)
    rounds = workshop.time([answers.proof.path], answers.split.evaluate[:SAMPLES], budget_s=BUDGET_S / 2)
    return latency(rounds[0])


def time_in_turn(first: Answers, second: Answers, folder: Path, server: JobServer) -> tuple[tuple[Latency, Latency], Ratio | None]:
    """Both in the same rounds, and the ratio of the second to the first; apart and without ratio where they are fed differently."""
    said = [(answers.subject.processing.preprocess, answers.subject.processing.state) for answers in (first, second)]
    if said[0] != said[1]:
        apart = [time_apart(answers, folder, server) for answers in (first, second)]
        return (apart[0], apart[1]), None
    workshop = _workshop(folder, first, server)
    rounds = workshop.time([first.proof.path, second.proof.path], first.split.evaluate[:SAMPLES], budget_s=BUDGET_S)
    return (latency(rounds[0]), latency(rounds[1])), ratio(rounds[1], rounds[0])


def _workshop(folder: Path, answers: Answers, server: JobServer) -> Workshop:
    subject = answers.subject
    said = subject.processing
    return Workshop(folder, answers.samples.path, said.preprocess, state=said.state, sizes=subject.sizes, server=server)
