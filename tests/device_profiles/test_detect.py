"""Detection from trees as boards have them: device tree, cpuinfo, meminfo and one program's ELF header."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.detect import detect
from device_profiles.schema import ProfileError

ELF = {"armv7l": (1, 40), "aarch64": (2, 183), "x86_64": (2, 62), "riscv64": (2, 243)}
FEATURES = {
    "armv7l": "Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32",
    "aarch64": "Features\t: fp asimd evtstrm crc32 cpuid",
    "x86_64": "flags\t\t: fpu lm sse4_2 avx2 fma",
}


def tree(root: Path, *, arch: str = "", model: str = "", cpuinfo: str = "", ram_kb: int = 0) -> Path:
    files: dict[str, bytes] = {"proc/cpuinfo": cpuinfo.encode()}
    if model:
        files["proc/device-tree/model"] = model.encode() + b"\0"
    if ram_kb:
        files["proc/meminfo"] = f"MemTotal:       {ram_kb} kB\nMemFree: 1 kB\n".encode()
    if arch:
        bits, machine = ELF[arch]
        files["usr/bin/env"] = b"\x7fELF" + bytes([bits, 1, 1, 0]) + bytes(8) + b"\2\0" + machine.to_bytes(2, "little") + bytes(44)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def processors(count: int, features: str, tail: str = "") -> str:
    return "".join(f"processor\t: {i}\nBogoMIPS\t: 108.00\n{features}\n\n" for i in range(count)) + tail


@pytest.mark.parametrize(
    ("model", "arch", "profile"),
    [
        ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", "rpi-zero-2w"),
        ("Raspberry Pi 3 Model A Plus Rev 1.0", "aarch64", "rpi-zero-2w"),
        ("Raspberry Pi 3 Model B Rev 1.2", "aarch64", "rpi3"),
        ("Raspberry Pi 4 Model B Rev 1.5", "aarch64", "rpi4"),
        ("Raspberry Pi Compute Module 4 Rev 1.0", "aarch64", "rpi4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", "rpi5"),
        ("NVIDIA Jetson Nano Developer Kit", "aarch64", "jetson-nano"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "aarch64", "jetson-orin-nano"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "aarch64", "jetson-orin-nano"),
        ("linux,dummy-virt", "aarch64", "generic-aarch64"),
        ("Raspberry Pi 4 Model B Rev 1.5", "armv7l", "generic-armv7"),
        ("Raspberry Pi 2 Model B Rev 1.1", "armv7l", "generic-armv7"),
        ("", "x86_64", "generic-x86-64"),
    ],
)
def test_model_and_userland_decide(tmp_path: Path, model: str, arch: str, profile: str) -> None:
    found = detect(tree(tmp_path, arch=arch, model=model, cpuinfo=processors(4, FEATURES[arch]), ram_kb=948_304))
    assert (found.profile, found.arch, found.cores, found.ram_mib) == (profile, arch, 4, 926)
    assert any(model in line for line in found.evidence)


def test_a_32_bit_userland_on_a_64_bit_kernel_is_a_32_bit_device(tmp_path: Path) -> None:
    found = detect(tree(tmp_path, arch="armv7l", model="Raspberry Pi 3 Model B Rev 1.2", cpuinfo=processors(4, FEATURES["aarch64"])))
    assert found.profile == "generic-armv7"


def test_the_model_line_of_cpuinfo_serves_where_the_device_tree_is_hidden(tmp_path: Path) -> None:
    tail = "Revision\t: c03115\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n"
    assert detect(tree(tmp_path, arch="aarch64", cpuinfo=processors(4, FEATURES["aarch64"], tail))).profile == "rpi4"


@pytest.mark.parametrize("arch", ["armv7l", "aarch64", "x86_64"])
def test_without_a_program_to_look_at_cpuinfo_decides(tmp_path: Path, arch: str) -> None:
    assert detect(tree(tmp_path, cpuinfo=processors(2, FEATURES[arch]))).arch == arch


def test_a_processor_that_lacks_what_the_profile_promises_is_named(tmp_path: Path) -> None:
    found = detect(tree(tmp_path, arch="x86_64", cpuinfo="processor : 0\nflags : fpu lm sse4_2\n"))
    assert any("lacks avx2, fma" in line for line in found.evidence)


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="architecture"):
        detect(tree(tmp_path, arch="riscv64", cpuinfo="processor : 0\n"))


def test_an_empty_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="architecture"):
        detect(tmp_path)


def test_this_machine_has_a_profile() -> None:
    assert detect().profile
