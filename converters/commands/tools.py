"""``edge-convert tools``: which environments of other frameworks there are, making and removing them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from converters.commands.exits import EXIT_OK
from converters.commands.progress import teller
from converters.errors import InputError
from converters.tools.catalogue import TOOLS, is_tool, tool_of
from converters.tools.environments import find, home, listed, make, remove

_ABOUT = (
    "Formats that only their own framework can read are read by that framework, in a Python environment made for it. "
    "'add' makes one: it downloads, from where pip is set up to. Nothing else ever does, unless --make-tools is given."
)


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("tools", help="list, add or remove environments of other frameworks", description=_ABOUT)
    parser.add_argument("act", nargs="?", choices=("list", "add", "remove"), default="list")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(TOOLS)}, or a runtime such as tflite-runtime-2.14.0")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Raises :class:`InputError` for names that are missing or unknown, and what making and removing raise."""
    if options.act == "list":
        if options.names:
            raise InputError(f"tools list takes no names ({' '.join(options.names)} given)")
        tree = _tree()
        print(json.dumps(tree, indent=2, sort_keys=True) if options.json else _table(tree))
        return EXIT_OK
    if not options.names:
        raise InputError(f"tools {options.act}: give at least one name: {', '.join(TOOLS)}, or a runtime such as tflite-runtime-2.14.0")
    chosen = [tool_of(name) for name in options.names]  # a wrong name is told before the first download
    tell = teller(options)
    done = {}
    for tool in chosen:
        done[tool.name] = str(make(tool, tell)) if options.act == "add" else "removed" if remove(tool.name, tell) else "was not there"
    print(json.dumps(done, indent=2, sort_keys=True) if options.json else "\n".join(f"{name}: {text}" for name, text in done.items()))
    return EXIT_OK


def _tree() -> dict[str, Any]:
    made = {entry.name: entry for entry in listed()}
    trees = {}
    for name in [*TOOLS, *(name for name in made if name not in TOOLS and is_tool(name))]:
        tool, entry = tool_of(name), made.get(name)
        trees[name] = {
            "about": tool.about,
            "state": "ready" if find(tool) else "stale" if entry else "absent",
            "python": str(entry.python) if entry else None,
            "requirements": list(tool.requirements),
            "installed": dict(entry.installed) if entry else {},
        }
    return {"home": str(home()), "tools": trees}


def _table(tree: dict[str, Any]) -> str:
    width = max(len(name) for name in tree["tools"])
    lines = [f"{name:<{width}}  {entry['state']:<6}  {entry['about']}" for name, entry in tree["tools"].items()]
    return "\n".join([*lines, f"in {tree['home']}"])
