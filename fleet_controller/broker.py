"""An embedded MQTT broker for trying things out, for the demo and for tests on machines without Mosquitto.

It is the amqtt library (extra ``broker``): MQTT 3.1.1, retained messages, last wills, QoS 0-2; anonymous clients only, no TLS, and
nothing survives its end. It keeps no messages for devices that are away, so the fleet side sends again at a device's birth.
For a fleet that matters run Mosquitto or another broker of your own.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from edge_agent.errors import TransportError

DEFAULT_PORT = 1883
_SHUTDOWN_S = 5.0
_PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}


def run_broker(host: str, port: int, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. ``on_ready`` is called when clients can connect.

    Raises :class:`TransportError` when amqtt is not installed or the address cannot be listened on.
    """
    logging.getLogger("amqtt").setLevel(logging.CRITICAL + 1)  # it logs every refused client with a traceback
    logging.getLogger("transitions").setLevel(logging.WARNING)
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise TransportError(f"the embedded broker needs the amqtt library ({error}); install edge-runtime[broker]") from None
    asyncio.run(_serve(Broker, host, port, on_ready))


async def _serve(broker_class: Any, host: str, port: int, on_ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    config = {"listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}}, "plugins": _PLUGINS}
    broker = broker_class(config)
    try:
        await broker.start()
    except Exception as error:  # amqtt wraps whatever went wrong, one type for all
        raise TransportError(f"{host}:{port}: cannot listen: {_reason(error)}") from None
    on_ready()
    await stop.wait()
    try:
        # From Python 3.12 on the listener's end waits for every connection to end; clients get this long to hang up.
        await asyncio.wait_for(broker.shutdown(), _SHUTDOWN_S)
    except Exception as error:  # it is going away: what it could not tidy up ends with the process
        logging.getLogger(__name__).debug("shutdown: %r", error)


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
        return "the port is already in use; stop what uses it or choose another --port"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause or error)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the broker command."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s: this machine only)")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="TCP port (default %(default)s)")


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 1 to 65535")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m fleet_controller.broker``; prints ``ready`` on stdout when clients can connect."""
    parser = argparse.ArgumentParser(prog="fleet_controller.broker", description="Run an embedded MQTT broker until interrupted.")
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        run_broker(args.host, args.port, lambda: print("ready", flush=True))
    except TransportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
