"""Opens one model file and tells its tensors: a process of its own, forked by the zygote or started as ``-m edge_agent.describer``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_agent.errors import EdgeError
from edge_agent.inference import process
from edge_agent.inference.wire import Channel, ChannelClosed, from_fd


def serve(channel: Channel) -> int:
    """The process: describes the file it is told. Its exit status."""
    try:
        packet = None
        while packet is None:
            packet = channel.wait(None)
        channel.send(_described(Path(packet.message["path"])), timeout_s=5.0)
    except ChannelClosed:
        return 0
    return 0


def _described(path: Path) -> Mapping[str, Any]:
    from edge_agent.runtimes.choose import load_model_file

    try:
        runtime = load_model_file(path)
    except EdgeError as error:
        return {"event": "failed", "reason": f"{path}: {error}" if str(path) not in str(error) else str(error)}
    inputs, outputs = ([asdict(spec) for spec in specs] for specs in (runtime.inputs, runtime.outputs))
    return {"event": "described", "runtime": path.suffix[1:].lower(), "inputs": inputs, "outputs": outputs}


def main(argv: list[str] | None = None) -> int:
    """Entry of a freshly started (not forked) describing process."""
    import argparse  # a forked process never comes here

    parser = argparse.ArgumentParser(prog="edge_agent.describer", description="Opens one model file; started by the agent.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the control channel")
    arguments = parser.parse_args(argv)
    process.begin("edge-describe", os.getppid())
    return serve(from_fd(arguments.fd))


if __name__ == "__main__":
    sys.exit(main())
