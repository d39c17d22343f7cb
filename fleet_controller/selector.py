"""Who is meant: ``all``, a name, a pattern, or conditions joined by commas. Pure.

``press-7`` · ``press-*`` · ``id=press-7`` · ``profile=rpi4`` · ``arch=aarch64`` · ``state=online`` · ``label.site=lab`` ·
``model=digits`` · ``model=digits@1.*`` · ``profile=rpi4,label.site=lab`` (both must hold). Values are shell patterns, case counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fleet_controller.errors import NobodyMatches, SelectorError
from fleet_controller.inventory import Device

KEYS = ("id", "profile", "arch", "state", "model")
_LABEL = "label."
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: ``key`` (``all``, one of :data:`KEYS`, or ``label.NAME``) and a pattern."""

    key: str
    pattern: str

    def matches(self, device: Device) -> bool:
        return any(fnmatchcase(value, self.pattern) for value in self._values(device))

    def _values(self, device: Device) -> tuple[str, ...]:
        if self.key.startswith(_LABEL):
            value = device.status.labels.get(self.key.removeprefix(_LABEL))
            return () if value is None else (value,)
        if self.key == "model":
            return tuple(text for m in device.status.models for text in (m.name, f"{m.name}@{m.version}"))
        named = {"id": device.id, _ALL: device.id, "profile": device.status.profile, "arch": device.status.arch, "state": device.state}
        return (named[self.key],)

    def __str__(self) -> str:
        return _ALL if self.key == _ALL else f"{self.key}={self.pattern}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Every term must hold."""

    terms: tuple[Term, ...]

    def matches(self, device: Device) -> bool:
        return all(term.matches(device) for term in self.terms)

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.terms)


def parse_selector(text: str) -> Selector:
    """The selector in ``text``. Raises :class:`SelectorError` naming the part that is wrong."""
    return Selector(tuple(_term(part.strip(), text) for part in text.split(",")))


def select(devices: Iterable[Device], selector: Selector) -> tuple[Device, ...]:
    """The devices meant. Raises :class:`NobodyMatches` when there is none, saying who is known."""
    everyone = tuple(devices)
    chosen = tuple(device for device in everyone if selector.matches(device))
    if not chosen:
        names = [device.id for device in everyone]
        known = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise NobodyMatches(f"{selector}: no known device matches (known: {known or 'none; has any device reached this broker?'})")
    return chosen


def _term(part: str, whole: str) -> Term:
    if part == _ALL:
        return Term(_ALL, "*")
    if not part:
        raise SelectorError(f"selector {whole!r}: an empty condition; write 'all' for every device")
    key, sign, pattern = part.partition("=")
    if not sign:
        return Term("id", part)
    if key not in KEYS and not (key.startswith(_LABEL) and len(key) > len(_LABEL)):
        raise SelectorError(f"selector {whole!r}: unknown key {key!r}; use {', '.join(KEYS)} or label.NAME")
    if not pattern:
        raise SelectorError(f"selector {whole!r}: {key}= needs a value")
    return Term(key, pattern)
