"""NVIDIA Jetson: the power mode, and what slows the board down.

Sources: NVIDIA Jetson Linux Developer Guide, "Power and thermal management" (nvpmodel; soctherm over-current events as
``oc<n>_event_cnt`` in hwmon; throttling as cooling devices of the thermal framework).
"""

from __future__ import annotations

import re
from pathlib import Path

from firmware_hooks.board_tool import ask_tool
from firmware_hooks.generic_linux import GenericLinux
from firmware_hooks.sysfs import numbered, read_int, read_line


class Jetson(GenericLinux):
    """A reader for Jetson modules. ``search_path`` replaces PATH when looking for ``nvpmodel``."""

    def __init__(self, root: Path = Path("/"), *, search_path: str | None = None) -> None:
        super().__init__(root)
        self._root = root
        self._search_path = search_path
        self._seen_events: dict[str, int] = {}

    def power_mode(self) -> str | None:
        """The mode's name such as ``MAXN`` or ``15W``: asked of nvpmodel, else read where nvpmodel keeps it."""
        answer = ask_tool("nvpmodel", "-q", search_path=self._search_path) or ""
        match = re.search(r"^NV Power Mode:\s*(\S+)", answer, re.MULTILINE)
        return match.group(1) if match else self._saved_mode()

    def throttling(self) -> tuple[str, ...] | None:
        """Engaged cooling devices that are no fans, and over-current events since the last call; None when there is nothing to read."""
        cooling = [(read_int(device / "cur_state"), kind) for device, kind in self._cooling() if "fan" not in kind.lower()]
        known = [(state, kind) for state, kind in cooling if state is not None]
        events = self._events()
        if not known and not events:
            return None
        reasons = [f"cooling:{kind}" for state, kind in known if state > 0]
        reasons += [f"over-current:{name}" for name, count in events.items() if count > self._seen_events.get(name, count)]
        self._seen_events = events
        return tuple(reasons)

    def _events(self) -> dict[str, int]:
        """Over-current counters by name (``oc1``); they only ever rise."""
        counts: dict[str, int] = {}
        for chip in numbered(self._hwmon, "hwmon"):
            if read_line(chip / "name") != "soctherm_oc":
                continue
            for file in sorted(chip.glob("oc*_event_cnt")):
                count = read_int(file)
                if count is not None:
                    counts[file.name.split("_", 1)[0]] = count
        return counts

    def _saved_mode(self) -> str | None:
        """nvpmodel's status file names the mode by number, its configuration gives the number a name."""
        status = read_line(self._root / "var/lib/nvpmodel/status") or ""
        match = re.search(r"pmode:(\d+)", status)
        if match is None:
            return None
        number = int(match.group(1))
        models = _whole_text(self._root / "etc/nvpmodel.conf")
        name = re.search(rf"<\s*POWER_MODEL\s+ID=0*{number}\s+NAME=(\S+)\s*>", models)
        return name.group(1) if name else str(number)


def _whole_text(path: Path) -> str:
    """A whole configuration file, up to 1 MiB; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(1 << 20).decode(errors="replace")
    except OSError:
        return ""
