"""Entry of a freshly started (not forked) describing process: ``python -m edge_agent.describer --fd N``."""

from __future__ import annotations

import argparse
import os
import sys

from edge_agent.inference import process
from edge_agent.inference.describing import serve
from edge_agent.inference.wire import from_fd


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edge_agent.describer", description="Opens one model file; started by the agent.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the control channel")
    arguments = parser.parse_args(argv)
    process.begin("edge-describe", os.getppid())
    return serve(from_fd(arguments.fd))


if __name__ == "__main__":
    sys.exit(main())
