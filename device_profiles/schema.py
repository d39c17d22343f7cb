"""What a board is: the shape of a profile, and the strict reading of one from a TOML tree. Opens no file.

A profile promises the *smallest* board sold under its name, so that a model proven for the profile fits every one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from device_profiles.budget import Budget, derive_budget
from device_profiles.toml_table import Table
from device_profiles.versions import parse_version

ARCHITECTURES = ("armv7l", "aarch64", "x86_64")
RUNTIMES = ("onnx", "tflite")
HOOKS = ("generic_linux", "raspberry_pi", "jetson")
PRECISIONS = ("int8", "int16x8", "weights8", "float16", "float32")
"""Number formats: int8 weights and activations; int8 weights and int16 activations; int8 weights that are made float to compute; float."""


class ProfileError(Exception):
    """A profile that is unknown or malformed; names the file and every key that is wrong."""


@dataclass(frozen=True, slots=True)
class Helper:
    """What computes instead of the processor: the name of an ONNX Runtime execution provider, or the library of a TensorFlow Lite delegate
    (a path, or a name the loader finds). ``options`` are (key, value) in the words of its own documentation."""

    name: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """The library that runs one kind of model on this board, and which of its versions work there.

    ``library`` is the distribution name (onnxruntime, ai-edge-litert, tflite-runtime); ``minimum`` is the first version that works,
    ``below`` the first that does not any more (empty: no such limit), ``excluded`` single versions known to be broken. ``prove`` are
    versions whose answers differ from the newest's, so that every model for this board must be proven in each of them. ``providers``
    (onnx) and ``delegates`` (tflite) are asked to compute before the processor is, in this order; with ``fallback`` the processor stands
    in for one that is not installed.
    """

    library: str
    minimum: str = ""
    below: str = ""
    excluded: tuple[str, ...] = ()
    prove: tuple[str, ...] = ()
    providers: tuple[Helper, ...] = ()
    delegates: tuple[Helper, ...] = ()
    fallback: bool = False

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
    top = Table(tree, "", problems)
    cores, ram_mib = top.whole("cores", 1, 1024), top.whole("ram_mib", 16, 1 << 24)
    runtimes = {name: _runtime(name, top.table(f"runtimes.{name}", node)) for name, node in top.tables("runtimes", RUNTIMES).items()}
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


def _runtime(name: str, table: Table) -> RuntimeLimits:
    limits = RuntimeLimits(
        library=table.text("library"),
        minimum=table.version("minimum"),
        below=table.version("below"),
        excluded=table.texts("excluded", required=False),
        prove=table.texts("prove", required=False),
        providers=_helpers(table, "providers", "name") if name == "onnx" else (),
        delegates=_helpers(table, "delegates", "path") if name == "tflite" else (),
        fallback=table.flag("fallback"),
    )
    for key, versions in (("excluded", limits.excluded), ("prove", limits.prove)):
        for version in versions:
            table.check_version(key, version)
    table.done()
    return limits


def _helpers(table: Table, key: str, called: str) -> tuple[Helper, ...]:
    """``[[runtimes.onnx.providers]]`` and ``[[runtimes.tflite.delegates]]``: a name or path, and a table of options."""
    helpers = []
    for node in table.each(key):
        options = node.options("options")
        helpers.append(Helper(node.text(called), options))
        node.done()
    if len({helper.name for helper in helpers}) != len(helpers):
        table.bad(key, "names something twice")
    return tuple(helpers)


def _budget(top: Table, derived: Budget) -> Budget:
    table = top.optional_table("budget")
    budget = Budget(
        size_mib=table.number("size_mib", derived.size_mib),
        latency_ms=table.number("latency_ms", derived.latency_ms),
        memory_mib=table.number("memory_mib", derived.memory_mib),
    )
    table.done()
    return budget


def _thermal(top: Table) -> Thermal:
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
