"""What setup.cfg asks for, as another machine would read it: ``requirements.py MACHINE PYTHON EXTRA...`` prints one requirement a line.

pip evaluates environment markers for the machine it runs on, also when it downloads for another; so they are evaluated here.
"""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement

SETUP = Path(__file__).parents[2] / "setup.cfg"


def requirements(machine: str, python: str, extras: list[str]) -> list[str]:
    """Requirement lines without markers for ``machine`` (as in uname -m) and ``python`` (3.11). Raises KeyError for an unknown extra."""
    config = configparser.RawConfigParser()
    config.read(SETUP)
    text = config["options"]["install_requires"] + "".join("\n" + config["options.extras_require"][extra] for extra in extras)
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    environment = {"platform_machine": machine, "python_version": python, "sys_platform": "linux", "extra": ""}
    found = []
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            requirement.marker = None
            found.append(str(requirement))
    return found


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1], sys.argv[2], sys.argv[3:])))
