"""Pixels as a PNG file (W3C Portable Network Graphics, third edition): 8-bit RGB, no interlace."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UP = 2


def png(pixels: Any) -> bytes:
    """``pixels`` are (height, width, 3) uint8. The same pixels give the same bytes. Every row but the first is stored as its difference
    from the row above, which suits drawings."""
    height, width, _ = pixels.shape
    above = np.concatenate([np.zeros_like(pixels[:1]), pixels[:-1]])
    rows = (pixels - above).reshape(height, width * 3)
    filtered = np.concatenate([np.full((height, 1), _UP, np.uint8), rows], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
