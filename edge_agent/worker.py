"""A model worker: one process, one model version. Forked by the zygote, or started as ``python -m edge_agent.worker --fd N``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_agent.bundle.manifest import Manifest, fed_inputs, read_outputs
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.clock import Clock, SystemClock, monotonic_s
from edge_agent.errors import EdgeError, RuntimeMissing
from edge_agent.inference import process
from edge_agent.inference.wire import Channel, ChannelClosed, from_fd
from edge_agent.ports import Runtime
from edge_agent.runtimes.options import options_from_json


def serve(channel: Channel) -> int:
    """Load the model the engine names, prove it when asked to, answer requests until told to end. The process's exit status."""
    clock = SystemClock()
    try:
        order = _first_order(channel)
        try:
            runtime, manifest, tidy = _load(channel, order, clock)
        except (EdgeError, MemoryError) as error:
            blameless = isinstance(error, (RuntimeMissing, MemoryError))
            limit_mib = order["memory_limit_mib"]
            within = f" within the {limit_mib} MiB of engine.memory_limit_mib" if limit_mib else ""
            reason = str(error) or f"not enough memory to load the model{within}"
            channel.send({"event": "failed", "reason": reason, "blameless": blameless}, timeout_s=1.0)
            return 1
        from edge_agent.inference.worker_loop import WorkerLoop

        WorkerLoop(channel, runtime, manifest, clock, tidy).run()
    except ChannelClosed:
        return 0
    return 0


def _first_order(channel: Channel) -> Mapping[str, Any]:
    packet = None
    while packet is None:
        packet = channel.wait(None)
    return packet.message


def _load(channel: Channel, order: Mapping[str, Any], clock: Clock) -> tuple[Runtime, Manifest, Callable[[], None]]:
    """The loaded model, and what is to be done once nobody waits: give back what only loading needed, and touch the model again."""
    from edge_agent.bundle.golden import load_cases
    from edge_agent.inference.measure import warm_up
    from edge_agent.inference.stopper import stop_on_signal
    from edge_agent.runtimes.choose import load_runtime

    started_s = monotonic_s(clock)
    manifest, folder = from_json(order["manifest"].encode()), Path(order["folder"])
    options = options_from_json(order["options"])
    process.limit_memory(order["memory_limit_mib"])
    if order["trial"]:
        process.yield_to_others()
    _check_steps(manifest)
    # Each golden case is the first of a stream: what a graph keeps must not go from one to the next.
    forgetful = replace(manifest, state=None) if manifest.keeps_state_in_graph else manifest
    runtime = load_runtime(forgetful, folder, options=options)
    stop_on_signal(runtime, channel)
    cases = load_cases(manifest, folder)
    warm_up(runtime, cases, manifest.inputs)
    if order["trial"]:
        _prove(channel, runtime, cases, clock)
    if manifest.keeps_state_in_graph:
        runtime.close()
        runtime = load_runtime(manifest, folder, options=options)
    if runtime.notes:
        channel.send({"event": "notes", "notes": list(runtime.notes)}, timeout_s=1.0)
    channel.send({"event": "loaded", "ms": (monotonic_s(clock) - started_s) * 1000}, timeout_s=1.0)

    def tidy() -> None:
        process.give_back_memory()
        if not manifest.keeps_state_in_graph:
            warm_up(runtime, cases, manifest.inputs)

    return runtime, manifest, tidy


def _check_steps(manifest: Manifest) -> None:
    """The pipelines compile pre- and postprocessing when they take the version; what cannot be compiled is refused here, before that."""
    from edge_agent.pipeline.postprocess import compile_postprocess
    from edge_agent.pipeline.preprocess import compile_preprocess

    inputs = fed_inputs(manifest)
    # A window cannot say how to fill two free dimensions, so no pipeline can use such a model; whoever asks with whole tensors can.
    if all(spec.shape.count(None) <= 1 for spec in inputs):
        compile_preprocess(manifest.preprocess, inputs)
    compile_postprocess(manifest.postprocess, read_outputs(manifest), manifest.labels, inputs)


def _prove(channel: Channel, runtime: Runtime, cases: list[Any], clock: Clock) -> None:
    from edge_agent.bundle.golden import compare, within
    from edge_agent.inference.measure import check_answers, time_runs

    results = check_answers(runtime, cases, compare, within)
    # Answers are checked out of the way of the model that serves; time is measured the way this one would serve.
    process.compete_again()
    times_ms = time_runs(runtime, cases, clock)
    channel.send({"event": "measured", "cases": results, "times_ms": times_ms, "peak_rss_mib": process.peak_rss_mib()}, timeout_s=1.0)


def main(argv: list[str] | None = None) -> int:
    """Entry of a freshly started (not forked) worker."""
    import argparse  # a forked process never comes here

    parser = argparse.ArgumentParser(prog="edge_agent.worker", description="Model worker; started by the agent.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the control channel")
    arguments = parser.parse_args(argv)
    process.begin("edge-worker", os.getppid())
    return serve(from_fd(arguments.fd))


if __name__ == "__main__":
    sys.exit(main())
