"""The retained status message: who the device is and what it serves. Pure."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence

from edge_agent import __version__
from edge_agent.config import AgentConfig
from edge_agent.protocol.messages import ModelEntry, StatusMessage
from edge_agent.update.machine import State, UpdateRecord
from edge_agent.values import ModelStatus


def birth(
    config: AgentConfig,
    *,
    profile: str,
    boot: str,
    runtimes: Mapping[str, str],
    models: Sequence[ModelStatus],
    update: UpdateRecord,
    t: str,
) -> StatusMessage:
    """The status of a device that is online. ``t`` is RFC 3339."""
    return StatusMessage(
        device=config.device.id,
        state="online",
        t=t,
        boot=boot,
        agent_version=__version__,
        profile=profile,
        arch=platform.machine(),
        runtimes=dict(runtimes),
        models=tuple(ModelEntry(m.name, m.version, m.digest, m.state, _update_state(update, m.name)) for m in models),
        pipelines=tuple(p.name for p in config.pipelines),
        labels=dict(config.device.labels),
    )


def last_will(device: str) -> StatusMessage:
    """What the broker says for a device that vanished."""
    return StatusMessage(device=device, state="offline")


def _update_state(record: UpdateRecord, model: str) -> str:
    if record.command is not None and record.command.model == model:
        return record.state.value
    return State.IDLE.value
