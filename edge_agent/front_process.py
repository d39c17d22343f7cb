"""The local HTTP API: one process. Forked by the zygote, or started as ``python -m edge_agent.front_process --fd N``."""

from __future__ import annotations

import gc
import os
import sys

from edge_agent.clock import SystemClock
from edge_agent.errors import EdgeError
from edge_agent.inference import process
from edge_agent.inference.wire import Channel, ChannelClosed, close_all, from_fd

YOUNG_OBJECTS = 20_000
"""Until the garbage collector looks for cycles: requests leave none, and the default of 700 would have it look every few of them."""


def serve(channel: Channel) -> int:
    """Serve the API as the engine says until told to end. The process's exit status."""
    from edge_agent.front.front import Front

    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    try:
        packet = None
        while packet is None:
            packet = channel.wait(None)
        try:
            front = Front(channel, packet.message, packet.fds, SystemClock())
        except (EdgeError, OSError, KeyError, ValueError) as error:
            close_all(packet.fds)
            channel.send({"event": "refused", "reason": f"{type(error).__name__}: {error}"}, timeout_s=1.0)
            return 1
        front.run()
    except ChannelClosed:
        return 0
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry of a freshly started (not forked) API process."""
    import argparse  # a forked process never comes here

    parser = argparse.ArgumentParser(prog="edge_agent.front_process", description="Local API process; started by the agent.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the control channel")
    arguments = parser.parse_args(argv)
    process.begin("edge-api", os.getppid())
    return serve(from_fd(arguments.fd))


if __name__ == "__main__":
    sys.exit(main())
