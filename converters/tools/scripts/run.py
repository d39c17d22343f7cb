"""Runs one script in a tool environment: ``python -s run.py SCRIPT FOLDER``, in an environment that holds no ``PYTHONPATH``.

The script's ``main(folder, job, tell)`` gets the folder and what ``job.json`` in it says, and returns a dictionary.
``result.json`` is left: ``{"answer": ...}``, ``{"refused": text}`` for an exception whose class is called ``Refused``,
``{"failed": text}`` for any other.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import types
from pathlib import Path
from typing import Any

PACKAGE = "converters.tools.scripts"


def _tell(text: str) -> None:
    print("tell: " + " ".join(str(text).split()), flush=True)


def _answer(script: str, folder: Path) -> dict[str, Any]:
    try:
        job = json.loads((folder / "job.json").read_text())
        return {"answer": importlib.import_module(f"{PACKAGE}.{script}").main(folder, job, _tell)}
    except Exception as error:
        if type(error).__name__ == "Refused":
            return {"refused": str(error)}
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return {"failed": (type(error).__name__ + ": " + " ".join(lines[:4]))[:1000]}


def _stand_in() -> None:
    """Scripts import one another by their full names, of whose packages there is nothing here, and cannot hide a framework's module."""
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]
    parts = PACKAGE.split(".")
    for count in range(1, len(parts) + 1):
        package = types.ModuleType(".".join(parts[:count]))
        package.__path__ = [str(Path(__file__).parent)] if count == len(parts) else []
        sys.modules[package.__name__] = package


def main() -> None:
    script, folder = sys.argv[1], Path(sys.argv[2])
    _stand_in()
    os.chdir(folder)
    text = json.dumps(_answer(script, folder))
    aside = folder / "result.json.part"
    aside.write_text(text)
    aside.replace(folder / "result.json")
    sys.stdout.flush()
    os._exit(0)  # frameworks have been seen to crash while they are taken down


if __name__ == "__main__":
    main()
