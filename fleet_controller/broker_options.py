"""The command line's words for a broker, a model version and a time; errors here are usage errors."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from edge_agent.protocol.topics import DEFAULT_PREFIX, valid_word
from fleet_controller.errors import UsageError
from fleet_controller.link import BrokerAddress

BROKER_VARIABLE = "EDGE_FLEET_BROKER"
_DEFAULT_BROKER = "127.0.0.1:1883"
_MQTT_PORT, _MQTTS_PORT = 1883, 8883


def add_broker_options(parser: argparse.ArgumentParser) -> None:
    """``--broker`` and what belongs to it."""
    parser.add_argument(
        "--broker",
        default=os.environ.get(BROKER_VARIABLE, _DEFAULT_BROKER),
        metavar="HOST[:PORT]",
        help=f"the MQTT broker (default ${BROKER_VARIABLE} or {_DEFAULT_BROKER})",
    )
    parser.add_argument("--username", default="", help="name to log in with")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="file with the password")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificates to check the broker's against; turns TLS on")
    parser.add_argument("--prefix", default=DEFAULT_PREFIX, help="what topics start with (default %(default)s)")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where history is kept (default $XDG_STATE_HOME/edge-fleet)")


def broker_address(args: argparse.Namespace) -> BrokerAddress:
    """The address in ``args``. Raises :class:`UsageError`."""
    host, port = parse_host_port(args.broker, default_port=_MQTT_PORT if args.ca is None else _MQTTS_PORT)
    prefix = args.prefix
    if not prefix or prefix.startswith("/") or prefix.endswith("/") or any(sign in prefix for sign in "+#\0"):
        raise UsageError(f"--prefix {prefix!r}: topic levels joined by '/', without '+' and '#'")
    if args.password_file is not None and not args.username:
        raise UsageError("--password-file needs --username")
    return BrokerAddress(host, port, args.username, _password(args.password_file), args.ca, prefix)


def parse_host_port(text: str, *, default_port: int) -> tuple[str, int]:
    """``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``. Raises :class:`UsageError`."""
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(default_port)
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare and bare == host) or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UsageError(f"--broker {text!r}: write HOST, HOST:PORT or [IPV6]:PORT")
    return bare, int(port)


def parse_version(text: str) -> tuple[str, str]:
    """``NAME@VERSION``. Raises :class:`UsageError`."""
    name, sign, version = text.partition("@")
    if not sign or not valid_word(name) or not valid_word(version.replace("+", "-")):
        raise UsageError(f"{text!r}: write NAME@VERSION, such as digits@1.2.0")
    return name, version


def parse_model(text: str) -> str:
    """A model's name. Raises :class:`UsageError`."""
    if not valid_word(text):
        raise UsageError(f"{text!r}: is not a model's name (letters, digits, '.', '_', '-')")
    return text


def seconds(text: str) -> float:
    """A positive, finite number of seconds, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _password(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--password-file {path}: cannot read: {error}") from None
