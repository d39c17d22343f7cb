"""Addresses that a configuration has something listen at: each is one listener's alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from os.path import normpath
from typing import Protocol

from edge_agent import addresses
from edge_agent.config import AgentConfig
from edge_agent.errors import Problem
from edge_agent.sinks.endpoint import parse_endpoint
from edge_agent.sources.address import parse_address

AGENT_SOCKET, API_SOCKET, API_GRPC_SOCKET = "agent.sock", "api.sock", "api-grpc.sock"
"""In the runtime folder."""


class Address(Protocol):
    """What the parsers of addresses have in common: a unix socket's ``path``, or ``host`` and ``port``."""

    @property
    def path(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


def check_listeners(config: AgentConfig, problems: list[Problem]) -> None:
    """Who comes second finds the address taken; where that is the agent itself, it does not start."""
    taken = {normpath(config.device.runtime_dir / AGENT_SOCKET): "the agent's own socket"}
    for where, address in _listeners(config):
        if address and address in taken:
            problems.append(Problem(where, f"{address} is taken by {taken[address]}; name another address"))
        taken.setdefault(address, where)


def _listeners(config: AgentConfig) -> Iterator[tuple[str, str]]:
    """Key and address, as far as an address can be read; those that cannot are told of by their own rules."""
    api = [(f"api.listen[{i}]", text, API_SOCKET) for i, text in enumerate(config.api.listen)]
    for where, text, name in (*api, ("api.grpc", config.api.grpc, API_GRPC_SOCKET)):
        with suppress(ValueError):
            if text:
                yield where, _word(addresses.parse_address(text, default_path=str(config.device.runtime_dir / name)))
    for i, pipeline in enumerate(config.pipelines):
        source = pipeline.source
        with suppress(ValueError):
            if source.kind == "socket" and source.options.get("listen") is True:
                yield f"pipelines[{i}].source.address", _word(parse_address(str(source.options.get("address"))))
        for j, sink in enumerate(pipeline.sinks):
            with suppress(ValueError):
                if sink.kind == "socket" and isinstance(sink.options.get("listen"), str):
                    yield f"pipelines[{i}].sinks[{j}].listen", _word(parse_endpoint(sink.options["listen"]))


def _word(address: Address) -> str:
    """One address, one word; none for a port that the kernel is to choose."""
    if address.path:
        return normpath(address.path)
    host = "127.0.0.1" if address.host == "localhost" else address.host
    return f"{host}:{address.port}" if address.port else ""
