"""Which board this is, named in the configuration or detected, and what of it a bundle may demand."""

from __future__ import annotations

from pathlib import Path

from device_profiles.detect import detect
from device_profiles.load import load_file, load_profile
from device_profiles.schema import DeviceProfile, ProfileError
from edge_agent import __version__
from edge_agent.errors import ConfigError, Problem
from edge_agent.runtimes.distributions import NotInstalled, version_of
from edge_agent.runtimes.installed import installed
from edge_agent.update.compatibility import DeviceFacts

_UPDATE_LIBRARIES = ("tuf", "securesystemslib", "cryptography")


def choose_profile(name: str) -> DeviceProfile:
    """The named profile, the one in a ``.toml`` file of one's own, or the one of the board this runs on for ``auto``.

    Raises ConfigError naming ``device.profile``.
    """
    try:
        if name.endswith(".toml"):
            return load_file(Path(name))
        return load_profile(detect().profile if name == "auto" else name)
    except ProfileError as error:
        raise ConfigError([Problem("device.profile", str(error))]) from None


def require_runtime() -> None:
    """Raises ConfigError when not one library that runs models is installed: an agent without any can do nothing."""
    if not installed():
        raise ConfigError([Problem("models", "no runtime is installed: pip install 'edge-runtime[onnx]' or 'edge-runtime[tflite]'")])


def require_update_libraries(repository: str) -> None:
    """Raises ConfigError when updates come from a ``repository`` and what verifies its signatures is not installed."""
    missing = [name for name in _UPDATE_LIBRARIES if not _is_installed(name)]
    if repository and missing:
        said = f"verifying updates needs {', '.join(missing)}: pip install 'edge-runtime[onnx]' or 'edge-runtime[tflite]'"
        raise ConfigError([Problem("updates.repository", said)])


def _is_installed(distribution: str) -> bool:
    try:
        version_of(distribution)
    except NotInstalled:
        return False
    return True


def device_facts(profile: DeviceProfile) -> DeviceFacts:
    """What a bundle's demands are compared with on this machine, taken as a board of ``profile``."""
    return DeviceFacts(profile.name, profile.arch, detect().ram_mib, __version__, installed())
