"""What every board that comes with the product must say."""

from __future__ import annotations

import pytest

from device_profiles.load import load_profile, names
from device_profiles.schema import DeviceProfile, ProfileError

EXPECTED = {
    "rpi-zero-2w",
    "rpi3",
    "rpi4",
    "rpi5",
    "jetson-nano",
    "jetson-orin-nano",
    "generic-armv7",
    "generic-aarch64",
    "generic-x86-64",
}


def test_the_boards_are_there() -> None:
    assert set(names()) == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_board_is_well_formed(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.schemes, "a converter needs an order of preference"
    assert profile.budget.memory_mib < profile.ram_mib
    assert profile.family == "generic" or profile.device_tree, "a board that no one can detect"


@pytest.mark.parametrize("name", ["rpi-zero-2w", "rpi3", "rpi4", "jetson-nano", "generic-aarch64"])
def test_cores_without_dot_product_refuse_the_release_that_needs_it(name: str) -> None:
    profile = load_profile(name)
    assert "dotprod" not in profile.features
    onnx = profile.runtimes["onnx"]
    assert "known not to work" in onnx.objection("1.21.0")
    assert not onnx.objection("1.21.1")


def test_32_bit_arm_has_only_tflite_runtime() -> None:
    profile = load_profile("generic-armv7")
    assert set(profile.runtimes) == {"tflite"}
    limits = profile.runtimes["tflite"]
    assert limits.library == "tflite-runtime"
    assert not limits.objection("2.14.0")
    assert "older" in limits.objection("2.13.0")
    assert "not below" in limits.objection("2.15")


def test_an_unknown_name_lists_what_is_near() -> None:
    with pytest.raises(ProfileError, match=r"'rpi_4'.*did you mean .*rpi4.*Known profiles: generic-aarch64"):
        load_profile("rpi_4")


@pytest.mark.parametrize("name", ["", "../boards/rpi4", "/etc/passwd", "x" * 10_000])
def test_a_name_never_becomes_a_path(name: str) -> None:
    with pytest.raises(ProfileError, match="unknown device profile"):
        load_profile(name)


def test_a_profile_cannot_be_changed() -> None:
    profile = load_profile("rpi4")
    with pytest.raises(TypeError):
        profile.runtimes["onnx"] = profile.runtimes["tflite"]  # type: ignore[index]
    assert isinstance(profile, DeviceProfile)
