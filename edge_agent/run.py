"""``edge-agent run``: the process that systemd starts."""

from __future__ import annotations

import logging
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from edge_agent.assemble import assemble
from edge_agent.config_file import load_config
from edge_agent.inference.process import give_back_memory, trim_heap
from edge_agent.state_lock import state_lock


def run_agent(config_path: Path, *, log_level: str = "info") -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. Raises ConfigError before anything was started."""
    logging.basicConfig(level=log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    config = load_config(config_path)
    with ExitStack() as held:
        held.enter_context(state_lock(config.device.state_dir))
        if config.device.runtime_dir.resolve() != config.device.state_dir.resolve():
            held.enter_context(state_lock(config.device.runtime_dir, "device.runtime_dir"))
        agent = assemble(config)
        give_back_memory()  # while there is one thread
        for word in (signal.SIGTERM, signal.SIGINT):
            signal.signal(word, lambda *_: agent.halt())
        try:
            agent.start()
            trim_heap()
            agent.run()
        finally:
            agent.stop()
    return 0
