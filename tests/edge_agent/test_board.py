"""Which board the agent takes this machine for."""

from __future__ import annotations

from pathlib import Path

import pytest

import device_profiles
from edge_agent.board import choose_profile
from edge_agent.errors import ConfigError

BOARDS = Path(device_profiles.__file__).parent / "boards"


def test_a_board_by_name_or_by_detection() -> None:
    assert choose_profile("rpi4").name == "rpi4"
    assert choose_profile("auto").runtimes


def test_a_profile_of_ones_own_may_ask_for_an_accelerator(tmp_path: Path) -> None:
    path = tmp_path / "my-board.toml"
    text = (BOARDS / "rpi4.toml").read_text().replace('name = "rpi4"', 'name = "my-board"')
    path.write_text(text + '\n[[runtimes.tflite.delegates]]\npath = "libedgetpu.so.1"\n')
    profile = choose_profile(str(path))
    assert profile.name == "my-board" and profile.runtimes["tflite"].delegates[0].name == "libedgetpu.so.1"


@pytest.mark.parametrize("name", ["rpi99", "/nonexistent/board.toml", "board.toml"])
def test_what_is_no_profile_is_named_by_its_key(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_profile(name)
    assert str(caught.value).startswith("device.profile: ") and name.split(".")[0] in str(caught.value)
