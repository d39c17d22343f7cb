"""What may save an integer candidate whose answers the gate refuses: ranges fitted for the least error, then noisy layers in float."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from converters.candidates import Candidate, NotMade, emit
from converters.mixed import fewest_float
from converters.networks import refitted
from converters.prepare import Prepared
from converters.sensitivity import Each, LayerNoise, quantized_layers, rank_layers
from converters.translate import Tell
from converters.trying import Proven
from converters.variants import Variant
from converters.words import INTEGER

SHOWN_LAYERS = 40
"""Layers are ranked, for the report, even when nothing needs saving, in networks of at most so many."""

Prove = Callable[[Candidate, Variant], "Proven | NotMade"]


@dataclass(frozen=True, slots=True, eq=False)
class Rescued:
    """``proven`` with what was saved behind what needed it; ``variants`` made on the way; why others could not be saved; the layers'
    noises."""

    proven: tuple[Proven, ...]
    variants: tuple[Variant, ...]
    not_made: tuple[NotMade, ...]
    sensitivity: tuple[LayerNoise, ...]


class Rescue:
    """Works for one search; ``good`` says whether the gate would take a candidate's answers, ``each`` does several things at once."""

    def __init__(self, ready: Prepared, tell: Tell, prove: Prove, good: Callable[[Proven], bool], each: Each) -> None:
        self._ready, self._tell, self._prove, self._good, self._each = ready, tell, prove, good, each
        self._not_made: list[NotMade] = []

    def run(self, proven: Sequence[Proven], base: Variant) -> Rescued:
        """``base`` is the calibrated model itself."""
        lost = [item for item in proven if self._is_lost(item)]
        fitted = self._fitted(base) if lost and self._ready.recipe.calibrator == "minmax" else None
        ranking: tuple[LayerNoise, ...] = ()
        if lost or len(quantized_layers(base)) <= SHOWN_LAYERS:
            self._tell("measuring each layer's noise")
            ranking = rank_layers(self._ready.workshop, base, self._ready.original, self._each)
        result: list[Proven] = []
        for item in proven:
            result += [item, *(self._saved(item, base, fitted, ranking) if item in lost else ())]
        return Rescued(tuple(result), (fitted,) if fitted else (), tuple(self._not_made), ranking)

    def _is_lost(self, item: Proven) -> bool:
        integer = item.candidate.precision in INTEGER and not item.candidate.variant
        return integer and not item.objections and not self._good(item)

    def _fitted(self, base: Variant) -> Variant:
        self._tell("fitting ranges for the least error")
        return refitted(self._ready, base)

    def _saved(self, lost: Proven, base: Variant, fitted: Variant | None, ranking: tuple[LayerNoise, ...]) -> list[Proven]:
        scheme, saved, start = lost.candidate.scheme, [], base
        if fitted is not None:
            other = self._tried(scheme, fitted, ())
            if isinstance(other, Proven):
                saved.append(other)
                if self._good(other):
                    return saved
                start = fitted if other.evaluation.sqnr_db > lost.evaluation.sqnr_db else base
        self._tell(f"giving layers of {scheme} back to float")
        mixed = self._mixed(scheme, start, ranking)
        if isinstance(mixed, NotMade):
            self._not_made.append(mixed)
            return saved
        return [*saved, mixed]

    def _mixed(self, scheme: str, start: Variant, ranking: tuple[LayerNoise, ...]) -> Proven | NotMade:
        seen: dict[tuple[str, ...], Proven] = {}

        def passes(kept: tuple[str, ...]) -> bool:
            result = self._tried(scheme, start, kept)
            if isinstance(result, NotMade):
                return False
            seen[kept] = result
            return self._good(result)

        kept = fewest_float(ranking, passes)
        if kept is None:
            return NotMade(scheme, "its answers are not good enough even with half of the layers left in float", "mixed")
        return seen[kept]

    def _tried(self, scheme: str, variant: Variant, kept: tuple[str, ...]) -> Proven | NotMade:
        candidate = emit(scheme, self._ready.source, variant, kept)
        return self._prove(candidate, variant) if isinstance(candidate, Candidate) else candidate
