"""The number formats a file may be in: what activations are stored as, and what weights are stored as."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """``activations`` between the float ends (float32, int8, int16) and ``weights`` (float32, float16, int8), as numpy calls them."""

    activations: str
    weights: str

    @property
    def integer(self) -> bool:
        """Whether activations are whole numbers with a scale."""
        return self.activations != "float32"

    @property
    def bias(self) -> str:
        """What the bias of a layer in integers is stored as."""
        return "int64" if self.activations == "int16" else "int32"


FLOAT32 = Format("float32", "float32")
FLOAT16 = Format("float32", "float16")
WEIGHTS8 = Format("float32", "int8")
INT8 = Format("int8", "int8")
INT16X8 = Format("int16", "int8")
