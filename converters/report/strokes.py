"""Letters as strokes, for pictures made without a font.

A glyph is a list of strokes, a stroke a list of points, a point two digits of base 36: x from the left, y from the descender (0) over the
baseline (3) and the height of small letters (9) to that of capitals (c). A stroke that begins with ``~`` is a smooth curve towards its
points, from the first to the last; with ``o`` a closed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

from converters.report.drawing import Spot

EM = 13.0
"""Units of one font size."""
BASELINE = 3
_SPACE, _GAP = 4.0, 2.7
_STEPS = 6

_GLYPHS: Mapping[str, str] = MappingProxyType(
    {
        "A": "033c63 1656",
        "B": "030c ~0c2c5c582808 ~082868632303",
        "C": "~6a5c0c035365",
        "D": "030c ~0c2c7c732303",
        "E": "5c0c0353 0848",
        "F": "5c0c03 0848",
        "G": "~6a5c0c036367 6737",
        "H": "030c 636c 0868",
        "I": "030c",
        "J": "~4c46430305",
        "K": "030c 6c06 2863",
        "L": "0c0353",
        "M": "030c458c83",
        "N": "030c636c",
        "O": "o0c7c7303",
        "P": "030c ~0c2c6c672707",
        "Q": "o0c7c7303 4572",
        "R": "030c ~0c2c6c672707 3763",
        "S": "~6a5c0c0867631305",
        "T": "0c6c 3c33",
        "U": "~0c060363666c",
        "V": "0c336c",
        "W": "0c234b638c",
        "X": "0c63 6c03",
        "Y": "0c386c 3833",
        "Z": "0c6c0363",
        "a": "5953 o09595303",
        "b": "0c03 o09595303",
        "c": "~584909034354",
        "d": "5c53 o09595303",
        "e": "0656 ~565909034354",
        "f": "~4c1c1913 0939",
        "g": "~5954501001 o09595303",
        "h": "0c03 ~0609595653",
        "i": "0903 0c0c",
        "j": "~19131000 1c1c",
        "k": "0c03 4905 1643",
        "l": "0c03",
        "m": "0903 ~0609494643 ~4649898683",
        "n": "0903 ~0609595653",
        "o": "o09595303",
        "p": "0900 o09595303",
        "q": "5950 o09595303",
        "r": "0903 ~060939",
        "s": "~4849090646430304",
        "t": "~1c151333 0939",
        "u": "5953 ~0906035356",
        "v": "093369",
        "w": "0923486389",
        "x": "0953 5903",
        "y": "0933 6920",
        "z": "09590353",
        "0": "o0c6c6303",
        "1": "1a3c33 1353",
        "2": "~0a0c6c6803 0363",
        "3": "~0a0c5c5828 ~2868630305",
        "4": "434c0565",
        "5": "5c1c07 ~072969630304",
        "6": "o09696303 ~5c1c06",
        "7": "0c6c23",
        "8": "o1c5c5818 o08686303",
        "9": "o0c6c6606 ~695313",
        ".": "0303",
        ",": "1301",
        ":": "0303 0808",
        ";": "1301 1818",
        "!": "0c06 0303",
        "?": "~0a0c5c583836 3333",
        "-": "0747",
        "–": "0767",
        "+": "0767 3a34",
        "=": "0868 0565",
        "%": "8c03 o0c3c3909 o56868353",
        "/": "024c",
        "(": "~2d0b0421",
        ")": "~0d2b2401",
        "[": "2d0d0121",
        "]": "0d2d2101",
        "_": "0262",
        "#": "132c 435c 0666 0969",
        "'": "0c0a",
        '"': "0c0a 2c2a",
        "<": "590653",
        ">": "095603",
        "*": "3c36 0b57 5b07",
        "&": "6309 ~090c4c4a0603 ~06034367",
        "@": "o09696303 o27474525",
        "×": "0449 0944",
        "·": "0707",
        "…": "0303 3333 6363",
        "↓": "3c33 063366",
        "→": "0767 496745",
        "µ": "0900 5953 ~0906035356",
        "²": "~0b0d3d3b08 0838",
    }
)
_UNKNOWN = "030c5c5303"


def outline(text: str) -> tuple[tuple[tuple[Spot, ...], ...], float]:
    """The strokes of ``text`` from x 0, y upwards from the baseline, in units; and how wide it is. What has no glyph is a box."""
    strokes: list[tuple[Spot, ...]] = []
    at = 0.0
    for letter in text:
        if letter.isspace():
            at += _SPACE + 1.0
            continue
        glyph = [_stroke(word) for word in _GLYPHS.get(letter, _UNKNOWN).split()]
        strokes += [tuple((at + x, y) for x, y in spots) for spots in glyph]
        at += max(x for spots in glyph for x, _ in spots) + _GAP
    return tuple(strokes), max(at - _GAP, 0.0)


def _stroke(word: str) -> tuple[Spot, ...]:
    kind = word[0] if word[0] in "~o" else ""
    digits = word[len(kind) :]
    spots = tuple((float(int(digits[i], 36)), float(int(digits[i + 1], 36) - BASELINE)) for i in range(0, len(digits), 2))
    if kind == "~":
        middles = [spots[0], *(_middle(a, b) for a, b in pairwise(spots[1:-1])), spots[-1]]
        return _curve(middles, spots[1:-1])
    if kind == "o":
        around = (*spots, spots[0])
        middles = [_middle(a, b) for a, b in pairwise(around)]
        return _curve([*middles, middles[0]], (*spots[1:], spots[0]))
    return spots


def _curve(through: list[Spot], towards: tuple[Spot, ...]) -> tuple[Spot, ...]:
    """Quadratic Bézier arcs between neighbours of ``through``, each bent ``towards`` its point: a uniform quadratic B-spline."""
    found = [through[0]]
    for start, bend, end in zip(through, towards, through[1:], strict=False):
        for step in range(1, _STEPS + 1):
            t = step / _STEPS
            a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
            found.append((a * start[0] + b * bend[0] + c * end[0], a * start[1] + b * bend[1] + c * end[1]))
    return tuple(found)


def _middle(a: Spot, b: Spot) -> Spot:
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
