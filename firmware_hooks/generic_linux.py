"""What any Linux board tells in sysfs: thermal zones, hwmon chips, cooling devices, the frequency governor.

Sources: Linux kernel documentation, driver-api/thermal/sysfs-api, hwmon/sysfs-interface, admin-guide/pm/cpufreq.
"""

from __future__ import annotations

from pathlib import Path

from firmware_hooks.sysfs import numbered, read_int, read_line

_CPU_ZONES = ("tj-thermal", "cpu-thermal", "cpu_thermal", "CPU-therm", "x86_pkg_temp", "soc-thermal", "soc_thermal", "cpu0-thermal")
_CPU_CHIPS = ("coretemp", "k10temp", "cpu_thermal", "zenpower")
# Not the processor: a fixed reading (PMIC-Die), an estimate for the fan, radios and firmware placeholders.
_OTHER_ZONES = ("PMIC", "fan", "iwlwifi", "INT3400", "acpitz")
_CPU_COOLING = ("cpufreq", "thermal-cpufreq", "Processor")
_LOWEST_C, _HIGHEST_C = -55.0, 150.0


class GenericLinux:
    """A reader for boards about which nothing more is known. ``root`` is where the file system begins."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._thermal = root / "sys/class/thermal"
        self._hwmon = root / "sys/class/hwmon"
        self._cpu = root / "sys/devices/system/cpu"

    def temperature_c(self) -> float | None:
        """The processor's thermal zone, else its hwmon chip, else the hottest zone that is not known to be something else."""
        zones = self._zones()
        for kind in _CPU_ZONES:
            if kind in zones:
                return zones[kind]
        chip = self._chip_temperature_c()
        if chip is not None:
            return chip
        rest = [value for kind, value in zones.items() if not any(word in kind for word in _OTHER_ZONES)]
        return max(rest, default=None)

    def throttling(self) -> tuple[str, ...] | None:
        """``frequency-capped`` while a processor cooling device is engaged; None when the kernel has none."""
        states = [read_int(d / "cur_state") for d, kind in self._cooling() if kind.startswith(_CPU_COOLING)]
        known = [state for state in states if state is not None]
        if not known:
            return None
        return ("frequency-capped",) if any(state > 0 for state in known) else ()

    def power_mode(self) -> str | None:
        """The frequency governor of the first processor."""
        return read_line(self._cpu / "cpu0/cpufreq/scaling_governor") or None

    def _zones(self) -> dict[str, float]:
        """Degrees by zone type; of several zones of one type the hottest. Zones may appear only seconds after boot."""
        zones: dict[str, float] = {}
        for zone in numbered(self._thermal, "thermal_zone"):
            value_c = _plausible_c(read_int(zone / "temp"))
            kind = read_line(zone / "type") or zone.name
            if value_c is not None:
                zones[kind] = max(value_c, zones.get(kind, value_c))
        return zones

    def _chip_temperature_c(self) -> float | None:
        values = []
        for chip in numbered(self._hwmon, "hwmon"):
            if read_line(chip / "name") in _CPU_CHIPS:
                values += [_plausible_c(read_int(file)) for file in chip.glob("temp*_input")]
        return max((value for value in values if value is not None), default=None)

    def _cooling(self) -> list[tuple[Path, str]]:
        return [(device, read_line(device / "type") or "") for device in numbered(self._thermal, "cooling_device")]


def _plausible_c(millidegrees: int | None) -> float | None:
    """A sensor that is off reads 0 K, -256 °C or the like."""
    value_c = None if millidegrees is None else millidegrees / 1000
    return value_c if value_c is not None and _LOWEST_C < value_c < _HIGHEST_C else None
