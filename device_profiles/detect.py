"""Which profile fits this machine: read from /proc, /sys and one program's ELF header below a root that tests can choose.

The userland decides the architecture, not the kernel: a 32-bit system on a 64-bit kernel is an armv7l device, whatever
``uname`` says, because only its wheels can be installed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from device_profiles.load import load_profile, names
from device_profiles.schema import ProfileError

_GENERIC = {"armv7l": "generic-armv7", "aarch64": "generic-aarch64", "x86_64": "generic-x86-64"}
_ELF_MACHINES = {40: "armv7l", 183: "aarch64", 62: "x86_64"}  # EM_ARM, EM_AARCH64, EM_X86_64 of elf.h
_PROGRAMS = ("usr/bin/env", "bin/sh", "bin/busybox")
_MODEL_FILES = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Detection:
    """The profile that fits, and what was seen. ``cores`` and ``ram_mib`` are this machine's, 0 where they could not be read."""

    profile: str
    evidence: tuple[str, ...]
    arch: str
    cores: int
    ram_mib: int


def detect(root: Path = Path("/")) -> Detection:
    """The best profile for the machine whose file tree is ``root``. Raises :class:`ProfileError` on an architecture without one."""
    cpuinfo = _text(root / "proc/cpuinfo")
    evidence: list[str] = []
    arch = _architecture(root, cpuinfo, evidence)
    model = _model(root, cpuinfo, evidence)
    cores = len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))
    ram_mib = _ram_mib(root)
    evidence.append(f"{cores or 'unknown'} cores, {ram_mib or 'unknown'} MiB of RAM")
    profile = _board(model, arch) or _GENERIC[arch]
    if profile in _GENERIC.values():
        evidence.append(f"no board profile for {arch} begins like its model" if model else "no board model: taken as a generic machine")
    _note_missing_features(profile, cpuinfo, evidence)
    return Detection(profile, tuple(evidence), arch, cores, ram_mib)


def _board(model: str, arch: str) -> str:
    """The board whose device-tree beginning is the longest that fits ``model`` on ``arch``; empty when none does."""
    best, length = "", 0
    for name in names():
        profile = load_profile(name)
        for start in profile.device_tree:
            if profile.arch == arch and len(start) > length and model.startswith(start):
                best, length = name, len(start)
    return best


def _architecture(root: Path, cpuinfo: str, evidence: list[str]) -> str:
    for program in _PROGRAMS:
        arch = _elf_machine(root / program)
        if arch:
            evidence.append(f"/{program} is an {arch} program")
            return arch
    arch = _cpuinfo_architecture(cpuinfo)
    if not arch:
        raise ProfileError("cannot tell this machine's architecture: neither arm nor x86-64; name a profile in the configuration")
    evidence.append(f"/proc/cpuinfo looks like {arch}")
    return arch


def _elf_machine(path: Path) -> str:
    """Architecture of the ELF file at ``path`` (System V ABI: e_machine is the half word at byte 18, byte order at byte 5)."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError:
        return ""
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return ""
    return _ELF_MACHINES.get(int.from_bytes(head[18:20], "little" if head[5] == 1 else "big"), "")


def _cpuinfo_architecture(cpuinfo: str) -> str:
    flags = _flags(cpuinfo)
    if "asimd" in flags:
        return "aarch64"
    if "neon" in flags or "vfpv3" in flags:
        return "armv7l"
    return "x86_64" if "lm" in flags else ""


def _flags(cpuinfo: str) -> set[str]:
    match = re.search(r"^(?:Features|flags)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(match.group(1).split()) if match else set()


def _model(root: Path, cpuinfo: str, evidence: list[str]) -> str:
    for name in _MODEL_FILES:
        model = _text(root / name).strip("\0\n ")
        if model:
            evidence.append(f"/{name} says {model[:100]!r}")
            return model
    match = re.search(r"^Model\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    if match is None:
        return ""
    evidence.append(f"/proc/cpuinfo says Model {match.group(1)[:100]!r}")
    return match.group(1).strip()


def _ram_mib(root: Path) -> int:
    match = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(match.group(1)) // 1024 if match else 0


def _note_missing_features(profile: str, cpuinfo: str, evidence: list[str]) -> None:
    """A machine that lacks what its profile promises is still taken, but it is said."""
    if load_profile(profile).arch != "x86_64" or not cpuinfo:
        return
    missing = [feature for feature in load_profile(profile).features if feature not in _flags(cpuinfo)]
    if missing:
        evidence.append(f"this processor lacks {', '.join(missing)}, which {profile} promises")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
