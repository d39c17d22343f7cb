"""Reading ``agent.toml`` from disk."""

from __future__ import annotations

import sys
from pathlib import Path

from edge_agent.config import AgentConfig
from edge_agent.config_reader import parse
from edge_agent.errors import ConfigError, Problem

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_config(path: Path) -> AgentConfig:
    """The configuration in the file at ``path``. Raises :class:`ConfigError` naming the file or the keys."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([Problem(str(path), f"cannot be read: {error.strerror}")]) from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of more digits than Python reads
        raise ConfigError([Problem(str(path), f"is not TOML: {error}")]) from None
    except RecursionError:
        raise ConfigError([Problem(str(path), "is not a configuration: it is nested too deep")]) from None
    return parse(tree, base=path.resolve().parent, file=path.resolve())
