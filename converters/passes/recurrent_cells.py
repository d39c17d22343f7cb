"""One step of each recurrent layer in plain operators. A state is (output,) or (output, memory); an empty name is a state of zeros."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from converters.passes.draft import Draft

State = tuple[str, ...]


class Cell:
    """What the cells share: the product of all inputs at once, and the constants, which are made once for all steps.

    ``layer`` has weights (gates x hidden, inputs), recurrent weights (gates x hidden, hidden), and both biases behind one another.
    """

    gates = 1

    def __init__(self, draft: Draft, layer: tuple[Any, Any, Any], hidden: int, linear_before_reset: bool) -> None:
        weights, recurrent, bias = layer
        self._draft, self._hidden, self._late_reset = draft, hidden, linear_before_reset
        rows = self.gates * hidden
        self._bias = np.zeros(2 * rows, np.float32) if bias is None else bias
        self._weights, self._recurrent_matrix = self._sorted(weights), self._sorted(recurrent)
        self._input_bias, self._state_bias = self._sorted(self._bias[:rows]), self._sorted(self._bias[rows:])
        self._recurrent = draft.constant(self._recurrent_matrix.T)

    def inputs(self, flat: str) -> str:
        """The share of the inputs in all gates of all steps, (steps x batch, gates x hidden)."""
        bias = self._input_bias + self._state_bias
        return self._draft.node("Gemm", flat, self._draft.constant(self._weights.T), self._draft.constant(bias))

    def step(self, x: str, state: State) -> State:
        raise AssertionError("each cell has its own")

    def _sorted(self, rows: Any) -> Any:
        """Rows of gates in the order that this cell wants them."""
        return rows

    def _sum(self, x: str, output: str) -> str:
        return x if not output else self._draft.node("Add", x, self._draft.node("Gemm", output, self._recurrent))


class Plain(Cell):
    def step(self, x: str, state: State) -> State:
        return (self._draft.node("Tanh", self._sum(x, state[0])), "")


class Lstm(Cell):
    """Gates come as i, o, f, c: the first three share one sigmoid."""

    gates = 4

    def step(self, x: str, state: State) -> State:
        draft, hidden = self._draft, self._hidden
        gates, fresh = draft.parts(self._sum(x, state[0]), 1, [3 * hidden, hidden])
        take, give, keep = draft.parts(draft.node("Sigmoid", gates), 1, [hidden] * 3)
        memory = draft.node("Mul", take, draft.node("Tanh", fresh))
        if state[1]:
            memory = draft.node("Add", draft.node("Mul", keep, state[1]), memory)
        return draft.node("Mul", give, draft.node("Tanh", memory)), memory


class Gru(Cell):
    """Gates come as z, r, h. With ``linear_before_reset`` the reset multiplies what the recurrent weights made of the state."""

    gates = 3

    def __init__(self, draft: Draft, layer: tuple[Any, Any, Any], hidden: int, linear_before_reset: bool) -> None:
        super().__init__(draft, layer, hidden, linear_before_reset)
        both = 2 * hidden
        self._late_bias = draft.constant(self._state_bias[both:].reshape(1, -1))
        self._whole_bias = draft.constant(np.concatenate([np.zeros(both, np.float32), self._state_bias[both:]]))
        self._gate_matrix = draft.constant(self._recurrent_matrix[:both].T)
        self._fresh_matrix = draft.constant(self._recurrent_matrix[both:].T)

    def inputs(self, flat: str) -> str:
        both = 2 * self._hidden
        late = np.zeros_like(self._state_bias[both:]) if self._late_reset else self._state_bias[both:]
        bias = self._input_bias + np.concatenate([self._state_bias[:both], late])
        return self._draft.node("Gemm", flat, self._draft.constant(self._weights.T), self._draft.constant(bias))

    def step(self, x: str, state: State) -> State:
        draft, hidden, before = self._draft, self._hidden, state[0]
        gates, fresh = draft.parts(x, 1, [2 * hidden, hidden])
        late = self._late_bias
        if before and self._late_reset:
            share = draft.node("Gemm", before, self._recurrent, self._whole_bias)
            share, late = draft.parts(share, 1, [2 * hidden, hidden])
            gates = draft.node("Add", gates, share)
        elif before:
            gates = draft.node("Add", gates, draft.node("Gemm", before, self._gate_matrix))
        update, reset = draft.parts(draft.node("Sigmoid", gates), 1, [hidden, hidden])
        if self._late_reset:
            fresh = draft.node("Add", fresh, draft.node("Mul", reset, late))
        elif before:
            fresh = draft.node("Add", fresh, draft.node("Gemm", draft.node("Mul", reset, before), self._fresh_matrix))
        new = draft.node("Tanh", fresh)
        if not before:
            return draft.node("Sub", new, draft.node("Mul", update, new)), ""
        return draft.node("Add", new, draft.node("Mul", update, draft.node("Sub", before, new))), ""


CELLS: Mapping[str, type[Cell]] = MappingProxyType({"GRU": Gru, "LSTM": Lstm, "RNN": Plain})
"""The cell of each recurrent operator."""
