"""Which board this is: named in the configuration, or detected."""

from __future__ import annotations

from device_profiles.detect import detect
from device_profiles.load import load_profile
from device_profiles.schema import DeviceProfile, ProfileError
from edge_agent.errors import ConfigError, Problem


def choose_profile(name: str) -> DeviceProfile:
    """The named profile, or the one of the board this runs on for ``auto``. Raises ConfigError naming ``device.profile``."""
    try:
        return load_profile(detect().profile if name == "auto" else name)
    except ProfileError as error:
        raise ConfigError([Problem("device.profile", str(error))]) from None
