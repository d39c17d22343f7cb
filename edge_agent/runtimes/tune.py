"""Which options a model runs best with on this very board: what to try, how to decide, and how the answer is kept. Pure rules.

A model is compared two ways at a time, rounds in turn, beginning with one thread and all else as it is by default. The rule, in order:

1. Processor time counts first: options that need more than 1.3 times the processor time per inference that one thread needs lose.
2. Options that are at least 5 % faster (median of the rounds' p50 ratios), and faster in every round but one, win.
3. Options that are not more than 5 % slower, and save at least 1 MiB and a tenth of the model's own memory, win.
4. Else what stood before stands.

On a board so busy that the trial waited for a processor for more than a fifth of the time, speed cannot be told: nothing wins by rule 2,
and rule 3 goes by processor time. Such an answer is used and not kept.

Threads that spin are tried only for a model that works more than half of the time; below that they burn a core to wait.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edge_agent.runtimes.options import RuntimeOptions, options_from_json, options_to_json

CPU_FACTOR = 1.3
FASTER, NOT_SLOWER = 0.95, 1.05
LEAST_SAVED_MIB, LEAST_SAVED_SHARE = 1.0, 0.1
SPIN_FROM_DUTY = 0.5
AT_WORK = 0.8
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Tried:
    """One set of options measured: p50 of each round, mean time and processor time of an inference, memory that no file holds."""

    options: RuntimeOptions
    round_p50_us: tuple[float, ...]
    mean_us: float
    cpu_us: float
    own_mib: float

    @property
    def waited(self) -> bool:
        """Others had the processor for much of the time."""
        return self.cpu_us < AT_WORK * self.mean_us

    @property
    def p50_us(self) -> float:
        return median(self.round_p50_us)


@dataclass(frozen=True, slots=True)
class Choice:
    """The options to run a model with, why, and everything that was tried (the first is what they were compared with)."""

    options: RuntimeOptions
    reason: str
    tried: tuple[Tried, ...]

    @property
    def busy(self) -> bool:
        """Whether the board was too busy to tell."""
        return any(tried.waited for tried in self.tried)


@dataclass(frozen=True, slots=True)
class TuneKey:
    """What an answer holds for: this bundle, this library and version, this processor, this rate (0 for unknown), these options to start
    from (the board's profile may have changed)."""

    digest: str
    runtime: str
    cpu: str
    rate_hz: float = 0.0
    start: str = ""

    def file_name(self) -> str:
        text = json.dumps([FORMAT, self.digest, self.runtime, self.cpu, self.rate_hz, self.start])
        return hashlib.sha256(text.encode()).hexdigest()[:32] + ".json"


def thread_counts(cores: int) -> tuple[int, ...]:
    """1, 2 and all but one, as far as there are cores."""
    return tuple(sorted({count for count in (1, 2, cores - 1) if 1 <= count <= cores}))


Change = Mapping[str, Any]
"""Fields of RuntimeOptions that are to be otherwise."""


def challengers(start: RuntimeOptions, cores: int) -> Iterator[tuple[str, Change]]:
    """What to try first against ``start``: the processor alone where the profile asks for something else, and more threads."""
    if start.providers or start.delegates:
        yield "processor", {"providers": (), "delegates": ()}
    for count in thread_counts(cores):
        if count != start.threads:
            yield f"threads {count}", {"threads": count}


def variants(kind: str, best: RuntimeOptions, duty: float) -> Iterator[tuple[str, Change]]:
    """What to change then, one after the other, of the best so far. TensorFlow Lite has none of these."""
    if kind != "onnx":
        return
    if best.prepack:
        yield "prepack off", {"prepack": False}
    if best.arena:
        yield "arena off", {"arena": False}
    if duty > SPIN_FROM_DUTY and best.threads > 1 and not best.spinning:
        yield "spinning", {"spinning": True}


def better(first: Tried, champion: Tried, challenger: Tried) -> str:
    """Why ``challenger`` takes ``champion``'s place by the rule above; empty when it does not. Their rounds were run in turn."""
    if challenger.cpu_us > CPU_FACTOR * first.cpu_us:
        return ""
    if champion.waited or challenger.waited:
        return _smaller(champion, challenger, challenger.cpu_us / champion.cpu_us)
    ratios = [a / b for a, b in zip(challenger.round_p50_us, champion.round_p50_us, strict=True)]
    ratio = median(ratios)
    if ratio <= FASTER and sum(each < 1 for each in ratios) >= len(ratios) - 1:
        return f"{100 * (1 - ratio):.0f} % faster"
    return _smaller(champion, challenger, ratio)


def _smaller(champion: Tried, challenger: Tried, ratio: float) -> str:
    saved_mib = champion.own_mib - challenger.own_mib
    if ratio <= NOT_SLOWER and saved_mib >= max(LEAST_SAVED_MIB, LEAST_SAVED_SHARE * champion.own_mib):
        return f"{saved_mib:.1f} MiB less at the same speed"
    return ""


def describe(options: RuntimeOptions) -> str:
    """For people: only what differs from the default, after the threads."""
    words = [f"threads {options.threads}"]
    words += [provider.name.removesuffix("ExecutionProvider") for provider in options.providers]
    words += [delegate.path for delegate in options.delegates]
    words += ["spinning"] if options.spinning else []
    words += [] if options.arena else ["arena off"]
    words += [] if options.prepack else ["prepack off"]
    return ", ".join(words)


def choice_to_json(key: TuneKey, choice: Choice) -> bytes:
    """What the cache holds."""
    tried = [{**asdict(t), "options": options_to_json(t.options)} for t in choice.tried]
    tree = {"format": FORMAT, "key": asdict(key), "options": options_to_json(choice.options), "reason": choice.reason, "tried": tried}
    return json.dumps(tree, indent=1).encode()


def choice_from_json(key: TuneKey, data: bytes) -> Choice | None:
    """The choice kept for ``key``; None for anything else, a damaged file included: then the model is tried again."""
    try:
        tree = json.loads(data)
        if tree["format"] != FORMAT or tree["key"] != asdict(key):
            return None
        return choice_in(tree)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def choice_in(tree: Mapping[str, Any]) -> Choice:
    """The choice in what :func:`choice_to_json` made. Raises KeyError, TypeError, ValueError or AttributeError for anything else."""
    return Choice(options_from_json(tree["options"]), str(tree["reason"]), tuple(_tried(node) for node in tree["tried"]))


def kept_choice(folder: Path, key: TuneKey) -> Choice | None:
    """What an earlier trial found for ``key``, None when there was none. Imports no runtime: any process may ask."""
    try:
        return choice_from_json(key, (folder / key.file_name()).read_bytes())
    except OSError:
        return None


def cpu_model(root: Path = Path("/")) -> str:
    """What tells this processor from others, out of ``/proc/cpuinfo``; core count included, since threads depend on it."""
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return "unknown"
    wanted = ("model name", "CPU implementer", "CPU variant", "CPU part", "Hardware")
    pairs = [tuple(word.strip() for word in line.split(":", 1)) for line in lines if ":" in line]
    seen = dict.fromkeys(f"{key} {value}" for key, value in pairs if key in wanted)
    return f"{', '.join(seen) or 'unknown'} x {sum(key == 'processor' for key, _ in pairs)}"


def _tried(node: Mapping[str, Any]) -> Tried:
    times = tuple(float(time) for time in node["round_p50_us"])
    return Tried(options_from_json(node["options"]), times, float(node["mean_us"]), float(node["cpu_us"]), float(node["own_mib"]))
