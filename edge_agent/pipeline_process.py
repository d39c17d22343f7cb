"""A pipeline: one process. Forked by the zygote, or started as ``python -m edge_agent.pipeline_process --fd N``."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from edge_agent.clock import Clock, SystemClock
from edge_agent.config import StageConfig
from edge_agent.errors import EdgeError, SinkError
from edge_agent.inference import process
from edge_agent.inference.wire import Channel, ChannelClosed, ChannelFull, from_fd
from edge_agent.registry import sink_opener, source_opener
from edge_agent.values import Prediction

SWITCH_INTERVAL_S = 0.0005
"""How long a busy thread may keep the interpreter from one that has an answer to read; the default of 5 ms would show in latencies."""


def serve(channel: Channel) -> int:
    """Build the pipeline the engine names and run it until told to end. The process's exit status."""
    from edge_agent.pipeline.runner import PipelineRunner

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        packet = None
        while packet is None:
            packet = channel.wait(None)
        try:
            parts = _parts(channel, packet.message, SystemClock())
            process.give_back_memory()
            runner = PipelineRunner(parts)
        except EdgeError as error:
            channel.send({"event": "refused", "reason": str(error)}, timeout_s=1.0)
            return 1
        runner.run()
    except ChannelClosed:
        return 0
    return 0


def _parts(channel: Channel, order: Mapping[str, Any], clock: Clock) -> Any:
    from edge_agent.pipeline.direct_intake import open_intake
    from edge_agent.pipeline.inbox import Inbox
    from edge_agent.pipeline.intake import waiting_room
    from edge_agent.pipeline.outlet import Outlet, sink_names
    from edge_agent.pipeline.runner import RunnerParts
    from edge_agent.pipeline.voice import Voice
    from edge_agent.pipeline.window import open_windower
    from edge_agent.sinks.terms import terms_of

    name = order["name"]
    voice = Voice(channel, clock)
    inbox = Inbox()
    source = source_opener(order["source"]["kind"])(name, order["source"]["options"], inbox)
    publish = _publisher(voice)
    names = sink_names(name, [sink["kind"] for sink in order["sinks"]])
    sinks = [
        (sink_opener(sink["kind"])(sink_name, sink["options"], publish), terms_of(sink["kind"], sink["options"]))
        for sink_name, sink in zip(names, order["sinks"], strict=True)
    ]
    window, policy = order["window"], order["policy"]
    room = waiting_room(policy, order["queue"], window["length"], window["hop"], by_time=window["length_s"] > 0)
    stages = tuple(StageConfig(stage["model"], stage.get("feed", "window"), tuple(stage.get("when", ()))) for stage in order["stages"])
    return RunnerParts(
        name=name,
        attempt_ms=order["attempt_ms"],
        stages=stages,
        hop=window["hop"],
        newest_only=policy == "latest_only",
        channel=channel,
        voice=voice,
        intake=open_intake(source, room, clock, voice.event, random.random, policy),
        inbox=inbox,
        windower=open_windower(**window),
        outlet=Outlet(sinks, voice.event, clock, random.random),
        clock=clock,
    )


def _publisher(voice: Any) -> Callable[[str, Prediction], None]:
    from edge_agent.pipeline.voice import SEND_TIMEOUT_S
    from edge_agent.sinks.lines import json_tree

    def publish(suffix: str, prediction: Prediction) -> None:
        try:
            voice.say({"event": "publish", "suffix": suffix, "prediction": json_tree(prediction)}, SEND_TIMEOUT_S)
        except ChannelFull:
            raise SinkError("the control process takes no predictions") from None

    return publish


def main(argv: list[str] | None = None) -> int:
    """Entry of a freshly started (not forked) pipeline."""
    import argparse  # a forked process never comes here

    parser = argparse.ArgumentParser(prog="edge_agent.pipeline_process", description="Pipeline process; started by the agent.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the control channel")
    arguments = parser.parse_args(argv)
    process.begin("edge-pipeline", os.getppid())
    return serve(from_fd(arguments.fd))


if __name__ == "__main__":
    sys.exit(main())
