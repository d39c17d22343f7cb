"""Profiles from files: the boards that come with the product, and a file of one's own."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from device_profiles.schema import DeviceProfile, ProfileError, parse_profile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BOARDS = Path(__file__).parent / "boards"
_MAX_BYTES = 64 * 1024


def names() -> tuple[str, ...]:
    """The known boards, sorted."""
    return tuple(sorted(path.stem for path in _BOARDS.glob("*.toml")))


def load_profile(name: str) -> DeviceProfile:
    """The board called ``name``. Raises :class:`ProfileError`; for an unknown name it lists what is near and what there is."""
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name.lower().replace("_", "-"), known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise ProfileError(f"unknown device profile {name[:64]!r}{hint} Known profiles: {', '.join(known)}")
    return load_file(_BOARDS / f"{name}.toml")


def load_file(path: Path) -> DeviceProfile:
    """The profile in the TOML file ``path``, whose ``name`` must be the file's. Raises :class:`ProfileError` naming file and key."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ProfileError(f"{path}: larger than {_MAX_BYTES} bytes; this is not a device profile")
        tree = tomllib.loads(data.decode())
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ProfileError(f"{path}: is not TOML ({error})") from None
    profile = parse_profile(tree, file=str(path))
    if profile.name != path.stem:
        raise ProfileError(f"{path}: name: is {profile.name!r}, the file's name says {path.stem!r}")
    return profile
