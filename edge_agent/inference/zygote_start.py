"""Starts the zygote's process. Little is imported here, so that a command can begin with it: its imports take as long as all of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.inference.wire import Channel, pair
from edge_agent.runtimes.environment import STARTED_WITH


@dataclass(frozen=True, slots=True)
class StartedZygote:
    """The process, and our end of the channel to it: when that is closed, it ends."""

    process: subprocess.Popen[bytes]
    channel: Channel

    def end(self) -> None:
        """For one that nobody needed after all."""
        self.channel.close()
        self.process.wait()


def start_zygote(runtimes: Sequence[str], *, api: bool, python: str = sys.executable) -> StartedZygote:
    """A process that imports ``runtimes``, and with ``api`` what the local API needs, and then says that it is ready. Raises OSError."""
    ours, theirs = pair()
    command = [python, "-m", "edge_agent.zygote", "--fd", str(theirs.fileno()), "--runtimes", ",".join(runtimes)]
    command += ["--api"] if api else []
    try:
        # Python looks for modules in the current folder first: that must not be one where others, or our own data, may be.
        process = subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, env={**os.environ, **STARTED_WITH}, cwd="/"
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return StartedZygote(process, ours)
