"""What a swap leaves in the engine's memory: nothing of the worker that went, once the few seconds are over in which it had to end."""

from __future__ import annotations

import gc

from engine_rig import Rig
from waiting import wait_for

from edge_agent.inference.workers import Worker

SWAPS = 6


def workers() -> int:
    gc.collect()
    return sum(isinstance(found, Worker) for found in gc.get_objects())


def test_workers_that_ended_are_forgotten(rig: Rig) -> None:
    before = workers()
    for turn in range(SWAPS):
        bundle = (rig.two, rig.one)[turn % 2]
        assert rig.engine.try_candidate("tiny", bundle.digest, bundle.manifest, bundle.folder).passed
        rig.engine.switch("tiny", bundle.digest)
    wait_for(lambda: workers() <= before, timeout_s=25.0, what="workers that ended to be forgotten")
