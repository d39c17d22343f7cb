"""From a profile to the reader of its board."""

from __future__ import annotations

from pathlib import Path

from device_profiles.schema import DeviceProfile
from firmware_hooks.base import BoardReader
from firmware_hooks.generic_linux import GenericLinux
from firmware_hooks.jetson import Jetson
from firmware_hooks.raspberry_pi import RaspberryPi


def choose_reader(profile: DeviceProfile, root: Path = Path("/")) -> BoardReader:
    """The reader that ``profile.hooks`` names, reading below ``root``."""
    if profile.hooks == "raspberry_pi":
        return RaspberryPi(root)
    if profile.hooks == "jetson":
        return Jetson(root)
    return GenericLinux(root)
