"""What a board is: the shape of a profile, and the strict reading of one from a TOML tree. Opens no file.

A profile promises the *smallest* board sold under its name, so that a model proven for the profile fits every one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from device_profiles.budget import Budget, derive_budget
from device_profiles.versions import parse_version

ARCHITECTURES = ("armv7l", "aarch64", "x86_64")
RUNTIMES = ("onnx", "tflite")
HOOKS = ("generic_linux", "raspberry_pi", "jetson")
PRECISIONS = ("int8", "int16x8", "weights8", "float16", "float32")
"""Number formats: int8 weights and activations; int8 weights and int16 activations; int8 weights that are made float to compute; float."""


class ProfileError(Exception):
    """A profile that is unknown or malformed; names the file and every key that is wrong."""


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """The library that runs one kind of model on this board, and which of its versions work there.

    ``library`` is the distribution name (onnxruntime, ai-edge-litert, tflite-runtime); ``minimum`` is the first version that works,
    ``below`` the first that does not any more (empty: no such limit), ``excluded`` single versions known to be broken. ``prove`` are
    versions whose answers differ from the newest's, so that every model for this board must be proven in each of them.
    """

    library: str
    minimum: str = ""
    below: str = ""
    excluded: tuple[str, ...] = ()
    prove: tuple[str, ...] = ()

    def objection(self, version: str) -> str:
        """Why ``version`` of the library must not be used here; empty when it may. Raises ValueError for text that is no version."""
        number = parse_version(version)
        if any(number == parse_version(bad) for bad in self.excluded):
            return f"{self.library} {version} is known not to work on this board"
        if self.minimum and number < parse_version(self.minimum):
            return f"{self.library} {version} is older than {self.minimum}"
        if self.below and number >= parse_version(self.below):
            return f"{self.library} {version} is not below {self.below}"
        return ""


@dataclass(frozen=True, slots=True)
class Thermal:
    """Degrees Celsius: from ``soft_c`` on the board may slow itself down, at ``limit_c`` it does so hard or switches off."""

    soft_c: float
    limit_c: float


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """One kind of board.

    ``features`` are CPU features a kernel may rely on; ``runtimes`` maps onnx and tflite to their library and its limits;
    ``schemes`` is the preferred order of ``<runtime>-<precision>``; ``device_tree`` are the beginnings of the model line that
    firmware gives such boards; ``hooks`` names the reader in firmware_hooks.
    """

    name: str
    title: str
    family: str
    arch: str
    cpu: str
    features: tuple[str, ...]
    cores: int
    ram_mib: int
    runtimes: Mapping[str, RuntimeLimits]
    schemes: tuple[str, ...]
    accelerators: tuple[str, ...]
    budget: Budget
    thermal: Thermal
    hooks: str
    device_tree: tuple[str, ...] = ()


def parse_profile(tree: Mapping[str, Any], *, file: str) -> DeviceProfile:
    """The profile in ``tree``. Raises :class:`ProfileError` naming ``file`` and every key that is missing, unknown or wrong."""
    problems: list[str] = []
    top = _Table(tree, "", problems)
    cores, ram_mib = top.whole("cores", 1, 1024), top.whole("ram_mib", 16, 1 << 24)
    runtimes = {name: _runtime(top.table(f"runtimes.{name}", node)) for name, node in top.tables("runtimes", RUNTIMES).items()}
    profile = DeviceProfile(
        name=top.text("name"),
        title=top.text("title"),
        family=top.text("family"),
        arch=top.choice("arch", ARCHITECTURES),
        cpu=top.text("cpu"),
        features=top.texts("features"),
        cores=cores,
        ram_mib=ram_mib,
        runtimes=MappingProxyType(runtimes),
        schemes=top.texts("schemes"),
        accelerators=top.texts("accelerators", required=False),
        budget=_budget(top, derive_budget(ram_mib, cores)),
        thermal=_thermal(top),
        hooks=top.choice("hooks", HOOKS),
        device_tree=top.texts("device_tree", required=False),
    )
    top.done()
    _cross_check(profile, problems)
    if problems:
        raise ProfileError("\n".join(f"{file}: {problem}" for problem in problems))
    return profile


def _runtime(table: _Table) -> RuntimeLimits:
    limits = RuntimeLimits(
        library=table.text("library"),
        minimum=table.version("minimum"),
        below=table.version("below"),
        excluded=table.texts("excluded", required=False),
        prove=table.texts("prove", required=False),
    )
    for key, versions in (("excluded", limits.excluded), ("prove", limits.prove)):
        for version in versions:
            table.check_version(key, version)
    table.done()
    return limits


def _budget(top: _Table, derived: Budget) -> Budget:
    table = top.optional_table("budget")
    budget = Budget(
        size_mib=table.number("size_mib", derived.size_mib),
        latency_ms=table.number("latency_ms", derived.latency_ms),
        memory_mib=table.number("memory_mib", derived.memory_mib),
    )
    table.done()
    return budget


def _thermal(top: _Table) -> Thermal:
    table = top.optional_table("thermal", required=True)
    thermal = Thermal(soft_c=table.number("soft_c"), limit_c=table.number("limit_c"))
    if thermal.soft_c > thermal.limit_c:
        table.bad("soft_c", "is above limit_c")
    table.done()
    return thermal


def _cross_check(profile: DeviceProfile, problems: list[str]) -> None:
    if not profile.runtimes:
        problems.append("runtimes: names none; add [runtimes.onnx] or [runtimes.tflite]")
    for scheme in profile.schemes:
        runtime, _, precision = scheme.partition("-")
        if runtime not in profile.runtimes or precision not in PRECISIONS:
            problems.append(f"schemes: {scheme!r} must be one of this board's runtimes, '-', and one of {', '.join(PRECISIONS)}")


class _Table:
    """One TOML table being read: takes keys out of it and notes what is wrong by key path."""

    def __init__(self, tree: Mapping[str, Any], path: str, problems: list[str]) -> None:
        self._left = dict(tree)
        self._path = path
        self._problems = problems

    def bad(self, key: str, what: str) -> None:
        self._problems.append(f"{self._path}.{key}: {what}" if self._path else f"{key}: {what}")

    def done(self) -> None:
        """Whatever was not taken is not known: a typing error must not pass for a default."""
        for key in self._left:
            self.bad(key, "is not a key of a profile")

    def table(self, path: str, node: Mapping[str, Any]) -> _Table:
        return _Table(node, path, self._problems)

    def tables(self, key: str, known: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        node = self._take(key, dict, {})
        found: dict[str, Mapping[str, Any]] = {}
        for name, value in node.items():
            if name not in known or not isinstance(value, dict):
                self.bad(f"{key}.{name}", f"must be a table named one of {', '.join(known)}")
            else:
                found[name] = value
        return found

    def optional_table(self, key: str, *, required: bool = False) -> _Table:
        return self.table(key, self._take(key, dict, None if required else {}) or {})

    def text(self, key: str) -> str:
        value = self._take(key, str, None)
        if value is not None and not value.strip():
            self.bad(key, "is empty")
        return value or ""

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        value = self.text(key)
        if value and value not in known:
            self.bad(key, f"{value!r} is not one of {', '.join(known)}")
        return value

    def texts(self, key: str, *, required: bool = True) -> tuple[str, ...]:
        items = self._take(key, list, None if required else []) or []
        if not all(isinstance(item, str) and item for item in items):
            self.bad(key, "must be a list of non-empty strings")
            return ()
        if len(set(items)) != len(items):
            self.bad(key, "names something twice")
        return tuple(items)

    def whole(self, key: str, low: int, high: int) -> int:
        value = self._take(key, int, None)
        if value is None:
            return low
        if not low <= value <= high:
            self.bad(key, f"{value} is not from {low} to {high}")
            return low
        return int(value)

    def number(self, key: str, default: float | None = None) -> float:
        value = self._take(key, (int, float), default)
        if value is None:
            return 0.0
        if not 0 < value < float("inf"):
            self.bad(key, "must be a finite number above 0")
            return 0.0
        return float(value)

    def version(self, key: str) -> str:
        text = str(self._take(key, str, ""))
        if text:
            self.check_version(key, text)
        return text

    def check_version(self, key: str, text: str) -> None:
        try:
            parse_version(text)
        except ValueError as error:
            self.bad(key, str(error))

    def _take(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        """``default`` None means the key must be there; after a problem the answer is None or the default."""
        if key not in self._left:
            if default is None:
                self.bad(key, "is missing")
            return default
        value = self._left.pop(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.bad(key, f"has the wrong type {type(value).__name__}")
            return default
        return value
