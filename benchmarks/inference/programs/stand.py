"""An engine with a pipeline and the local API, told what to do line by line: ``python -m benchmarks.inference.programs.stand ORDER.json``.

It is what ``edge-agent run`` puts together, without broker, store on disk and update client, so that a figure can swap a thousand times;
like the agent's own, this process imports no numpy. Each line of standard input is a JSON object with ``do``; each answer is one line with
``ok`` and what was asked, or ``error``.
"""

from __future__ import annotations

import hashlib
import json
import socket
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.folder_store import FolderStore, TinyBundle
from edge_agent.addresses import Listener
from edge_agent.bundle.manifest_reader import from_json
from edge_agent.clock import SystemClock
from edge_agent.config import EngineConfig, ModelConfig, PipelineConfig, SinkConfig, SourceConfig
from edge_agent.errors import EdgeError
from edge_agent.inference.engine import Engine
from edge_agent.inference.front import FrontConfig
from edge_agent.values import Event

MOST_EVENTS = 64


class Stand:
    """``order``: model, bundles (folders with ``manifest.json``, the first one serves first), lane, mapped, port (0: no API), rate_hz (0:
    no pipeline), samples, policy, queue, recording, predictions (where the pipeline writes), engine (keys of EngineConfig)."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self.model = str(order["model"])
        self.versions = [_bundle(Path(folder)) for folder in order["bundles"]]
        store = FolderStore()
        for bundle in reversed(self.versions):
            store.add(bundle, active=bundle is self.versions[0])
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self.engine = Engine(
            store=store,
            clock=SystemClock(),
            report=self.events.append,
            config=EngineConfig(**order["engine"]),
            runtimes=("onnx",),
            publish=lambda pipeline, suffix, prediction: None,
            on_crash_loop=lambda model, digest: None,
            models=(ModelConfig(self.model, lane=order["lane"], mapped=order["mapped"]),),
        )
        self._listening: socket.socket | None = None

    def start(self) -> None:
        """Zygote, worker, then what listens and what plays."""
        self.engine.start()
        self.engine.serve(self.model)
        if self._order["port"]:
            self._listen(self._order["port"])
        if self._order["rate_hz"]:
            self._play()

    def _listen(self, port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", port), backlog=128)
        name = f"127.0.0.1:{port}"
        self.engine.open_api(FrontConfig(), (Listener(self._listening.fileno(), "tcp", name, token=False),), _no_calls)

    def _play(self) -> None:
        order = self._order
        options = {"path": Path(order["recording"]), "rate_hz": order["rate_hz"], "loop": True, "limit": order["samples"]}
        sink = SinkConfig("jsonl", {"path": Path(order["predictions"]), "rotate_mib": 0})
        config = PipelineConfig("bench", self.model, SourceConfig("replay", options), (sink,), queue=order["queue"], policy=order["policy"])
        self.engine.add_pipeline(config)

    def swap(self, version: int) -> dict[str, Any]:
        """Through a whole trial, as an update does it."""
        to = self.versions[version]
        report = self.engine.try_candidate(self.model, to.digest, to.manifest, to.folder)
        if not report.passed:
            raise EdgeError(f"a candidate was refused: {'; '.join(report.reasons)}")
        self.engine.switch(self.model, to.digest)
        return {}

    def status(self) -> dict[str, Any]:
        """Models, pipelines without their histograms, processes by role, the last events."""
        pipelines = [{"state": p.state, "counters": asdict(p.counters), "last_error": p.last_error} for p in self.engine.pipelines()]
        models = [asdict(model) for model in self.engine.models()]
        events = [f"{event.kind}: {event.message}" for event in self.events]
        return {"models": models, "pipelines": pipelines, "processes": self.engine.processes(), "events": events}


def _bundle(folder: Path) -> TinyBundle:
    data = (folder / "manifest.json").read_bytes()
    return TinyBundle(from_json(data), folder, hashlib.sha256(data).hexdigest())


def _no_calls(call: str, model: str, done: Any) -> None:
    done("this stand loads and unloads nothing for clients")


def main() -> int:
    stand = Stand(json.loads(Path(sys.argv[1]).read_text()))
    try:
        stand.start()
        _say({})
        for line in sys.stdin:
            order = json.loads(line)
            try:
                _say(stand.swap(order["version"]) if order["do"] == "swap" else stand.status())
            except EdgeError as error:
                print(json.dumps({"error": str(error)}), flush=True)
    finally:
        stand.engine.stop()
    return 0


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps({"ok": True, **answer}, default=str), flush=True)


if __name__ == "__main__":
    sys.exit(main())
