"""The operators of TensorFlow Lite that are read as a network, each with what reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from converters.loaders.tflite_file import FlatOperator
from converters.loaders.tflite_layers import LAYERS
from converters.loaders.tflite_lstm import lstm
from converters.loaders.tflite_moves import MOVES
from converters.loaders.tflite_reading import Reading
from converters.loaders.tflite_sums import SUMS

Reader = Callable[[Reading, FlatOperator], None]
"""Adds the nodes of one operator. Raises :class:`~converters.loaders.tflite_file.NotRead` for a form of it that is not understood."""

READERS: Mapping[str, Reader] = MappingProxyType(dict(sorted({**LAYERS, **MOVES, **SUMS, "UNIDIRECTIONAL_SEQUENCE_LSTM": lstm}.items())))
