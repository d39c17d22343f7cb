"""Board readers against file trees as the boards have them, and vendors' tools faked on PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from device_profiles.load import load_profile, names
from firmware_hooks.choose import choose_reader
from firmware_hooks.generic_linux import GenericLinux
from firmware_hooks.jetson import Jetson
from firmware_hooks.raspberry_pi import RaspberryPi, Throttled, decode_throttled

TREES = Path(__file__).parent / "trees"
ALL = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")


def fake_tool(folder: Path, name: str, body: str) -> str:
    """A program ``name`` in ``folder``; the answer is a search path with nothing else on it but the system's programs."""
    folder.mkdir(exist_ok=True)
    tool = folder / name
    tool.write_text("#!/bin/sh\n" + body)
    tool.chmod(0o755)
    return str(folder)


def copied(tree: str, target: Path) -> Path:
    shutil.copytree(TREES / tree, target)
    return target


@pytest.mark.parametrize(
    ("tree", "temperature_c"),
    [
        ("rpi4", 61.836),
        ("rpi5", 52.35),
        ("jetson-nano", 36.5),
        ("jetson-orin-nano", 49.5),
        ("pc", 63.0),
        ("pc-amd", 45.25),
        ("virtual", None),
    ],
)
def test_the_temperature_is_the_processors(tree: str, temperature_c: float | None) -> None:
    assert GenericLinux(TREES / tree).temperature_c() == temperature_c


def test_a_zone_that_appears_after_boot_is_seen(tmp_path: Path) -> None:
    reader = GenericLinux(tmp_path)
    assert reader.temperature_c() is None
    shutil.copytree(TREES / "rpi4" / "sys", tmp_path / "sys")
    assert reader.temperature_c() == pytest.approx(61.836)


@pytest.mark.parametrize("content", ["", "broken", "-273150", "4294967295"])
def test_a_sensor_that_reads_nonsense_tells_nothing(tmp_path: Path, content: str) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text(content)
    assert GenericLinux(tmp_path).temperature_c() is None


def test_generic_throttling_counts_processors_only(tmp_path: Path) -> None:
    root = copied("pc", tmp_path / "pc")
    assert GenericLinux(root).throttling() == ()
    (root / "sys/class/thermal/cooling_device0/cur_state").write_text("3\n")
    assert GenericLinux(root).throttling() == ("frequency-capped",)
    assert GenericLinux(TREES / "virtual").throttling() is None


def test_the_governor_is_the_power_mode() -> None:
    assert GenericLinux(TREES / "pc").power_mode() == "powersave"
    assert GenericLinux(TREES / "virtual").power_mode() is None


@pytest.mark.parametrize(
    ("word", "now", "since_boot"),
    [
        (0, (), ()),
        (0x50005, ("under-voltage", "throttled"), ("under-voltage", "throttled")),
        (0x80008, ("soft-temperature-limit",), ("soft-temperature-limit",)),
        (0x20000, (), ("frequency-capped",)),
        (0xF000F, ALL, ALL),
        (0xFFFFFF0, (), ALL),
    ],
)
def test_the_throttled_word(word: int, now: tuple[str, ...], since_boot: tuple[str, ...]) -> None:
    assert decode_throttled(word) == Throttled(now, since_boot)


def test_raspberry_pi_reads_the_word_from_sysfs(tmp_path: Path) -> None:
    path = fake_tool(tmp_path / "bin", "vcgencmd", "echo throttled=0x0\n")
    reader = RaspberryPi(TREES / "rpi4", search_path=path)
    assert reader.throttling() == ("under-voltage", "throttled")
    assert reader.power_mode() == "ondemand"


def test_raspberry_pi_asks_the_firmware_where_sysfs_is_silent(tmp_path: Path) -> None:
    path = fake_tool(tmp_path / "bin", "vcgencmd", '[ "$1" = get_throttled ] && echo throttled=0xe0008\n')
    reader = RaspberryPi(TREES / "rpi5", search_path=path)
    assert reader.throttled() == Throttled(("soft-temperature-limit",), ("frequency-capped", "throttled", "soft-temperature-limit"))


@pytest.mark.parametrize(
    "body", ["echo VCHI initialization failed; exit 255", "echo error=1 error_msg=not-allowed", "exec sleep 60", "yes"]
)
def test_raspberry_pi_falls_back_to_the_voltage_alarm(tmp_path: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_tool(tmp_path / "bin", "vcgencmd", body + "\n")
    monkeypatch.setattr("firmware_hooks.raspberry_pi.ask_tool", _impatient)
    root = copied("rpi5", tmp_path / "root")
    assert RaspberryPi(root, search_path=path).throttling() == ()
    (root / "sys/class/hwmon/hwmon3/in0_lcrit_alarm").write_text("1\n")
    assert RaspberryPi(root, search_path=path).throttling() == ("under-voltage",)


def _impatient(name: str, *arguments: str, search_path: str | None = None) -> str | None:
    from firmware_hooks.board_tool import ask_tool

    return ask_tool(name, *arguments, search_path=search_path, timeout_s=0.2)


def test_raspberry_pi_without_any_source_does_not_know(tmp_path: Path) -> None:
    assert RaspberryPi(TREES / "virtual", search_path=str(tmp_path)).throttling() is None


def test_jetson_asks_nvpmodel(tmp_path: Path) -> None:
    path = fake_tool(tmp_path / "bin", "nvpmodel", '[ "$1" = -q ] && printf "NV Power Mode: MAXN_SUPER\\n2\\n"\n')
    assert Jetson(TREES / "jetson-orin-nano", search_path=path).power_mode() == "MAXN_SUPER"


def test_jetson_reads_the_saved_mode_without_the_tool(tmp_path: Path) -> None:
    assert Jetson(TREES / "jetson-nano", search_path=str(tmp_path)).power_mode() == "5W"
    root = copied("jetson-nano", tmp_path / "root")
    (root / "etc/nvpmodel.conf").unlink()
    assert Jetson(root, search_path=str(tmp_path)).power_mode() == "1"
    assert Jetson(TREES / "virtual", search_path=str(tmp_path)).power_mode() is None


def test_jetson_throttling_is_a_cooling_device_that_is_no_fan(tmp_path: Path) -> None:
    root = copied("jetson-nano", tmp_path / "root")
    assert Jetson(root).throttling() == ()
    (root / "sys/class/thermal/cooling_device3/cur_state").write_text("1\n")
    assert Jetson(root).throttling() == ("cooling:tegra-heavy",)


def test_jetson_over_current_is_an_event_since_the_last_look(tmp_path: Path) -> None:
    root = copied("jetson-orin-nano", tmp_path / "root")
    reader = Jetson(root)
    assert reader.throttling() == (), "events before the agent started are no news"
    (root / "sys/class/hwmon/hwmon1/oc2_event_cnt").write_text("9\n")
    assert reader.throttling() == ("over-current:oc2",)
    assert reader.throttling() == ()


@pytest.mark.parametrize("name", names())
def test_every_profile_has_a_reader(name: str) -> None:
    reader = choose_reader(load_profile(name), TREES / "virtual")
    assert reader.temperature_c() is None
    expected = {"raspberry-pi": RaspberryPi, "jetson": Jetson, "generic": GenericLinux}[load_profile(name).family]
    assert type(reader) is expected
