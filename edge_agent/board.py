"""Which board this is, named in the configuration or detected, and what of it a bundle may demand."""

from __future__ import annotations

from device_profiles.detect import detect
from device_profiles.load import load_profile
from device_profiles.schema import DeviceProfile, ProfileError
from edge_agent import __version__
from edge_agent.errors import ConfigError, Problem
from edge_agent.runtimes.installed import installed
from edge_agent.update.compatibility import DeviceFacts


def choose_profile(name: str) -> DeviceProfile:
    """The named profile, or the one of the board this runs on for ``auto``. Raises ConfigError naming ``device.profile``."""
    try:
        return load_profile(detect().profile if name == "auto" else name)
    except ProfileError as error:
        raise ConfigError([Problem("device.profile", str(error))]) from None


def require_runtime() -> None:
    """Raises ConfigError when not one library that runs models is installed: an agent without any can do nothing."""
    if not installed():
        raise ConfigError([Problem("models", "no runtime is installed: pip install 'edge-runtime[onnx]' or 'edge-runtime[tflite]'")])


def device_facts(profile: DeviceProfile) -> DeviceFacts:
    """What a bundle's demands are compared with on this machine, taken as a board of ``profile``."""
    return DeviceFacts(profile.name, profile.arch, detect().ram_mib, __version__, installed())
