"""The commands that talk to devices over MQTT, and the one that shows what was ordered before."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_agent.clock import SystemClock, monotonic_s
from edge_agent.errors import EdgeError
from edge_agent.protocol.messages import FINAL_STATUSES
from edge_agent.protocol.topics import valid_word
from fleet_controller.broker_options import add_broker_options, broker_address, parse_model, parse_version, seconds
from fleet_controller.dispatch import Dispatcher, make_command
from fleet_controller.errors import UsageError
from fleet_controller.inventory import Device
from fleet_controller.rollout import Rollout, Target
from fleet_controller.rollout_report import COLLECT_S, past_row, past_table, print_end, print_left
from fleet_controller.selector import parse_selector, select
from fleet_controller.session import FleetSession
from fleet_controller.store import FleetStore, default_state_dir
from fleet_controller.table import clean, table
from fleet_controller.watch import Watch

_SELECTOR_HELP = "all, NAME, a pattern such as 'press-*', profile=rpi4, label.site=lab, model=digits@1.*; commas join conditions"


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the commands of this file."""
    devices = _parser(commands, "devices", "the devices this broker knows")
    devices.add_argument("selector", nargs="?", default="all", metavar="SELECTOR", help=_SELECTOR_HELP)

    deploy = _order_parser(commands, "deploy", "make a model version serve on devices", timeout_s=300)
    deploy.add_argument("what", metavar="NAME@VERSION", help="a published model version")
    deploy.add_argument("--repo", type=Path, metavar="DIR", help="check here first that it is published, and pin its hash")

    rollback = _order_parser(commands, "rollback", "go back to the version before", timeout_s=300)
    rollback.add_argument("model", metavar="NAME", help="the model")

    _order_parser(commands, "ping", "ask devices for a sign of life", timeout_s=10, everyone=True)
    _order_parser(commands, "models", "ask devices what they have installed", timeout_s=10, everyone=True)

    watch = _parser(commands, "watch", "telemetry as it arrives")
    watch.add_argument("selector", nargs="?", default="all", metavar="SELECTOR", help=_SELECTOR_HELP)
    watch.add_argument("--once", action="store_true", help="print one table and end")
    watch.add_argument("--seconds", type=seconds, metavar="N", help="end after N seconds (with --once: wait at most so long, default 10)")

    rollouts = _parser(commands, "rollouts", "what was ordered before, and what became of it")
    rollouts.add_argument("id", nargs="?", metavar="ID", help="show this one, device by device")
    rollouts.add_argument("--collect", type=seconds, metavar="N", help="listen first, at most N seconds, for results that are still out")


def _parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    add_broker_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _order_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, *, timeout_s: float, everyone: bool = False
) -> argparse.ArgumentParser:
    parser = _parser(commands, name, text)
    parser.add_argument("--to", required=not everyone, default="all", metavar="SELECTOR", help=_SELECTOR_HELP)
    parser.add_argument(
        "--timeout", type=seconds, default=timeout_s, metavar="S", help="seconds the order is good for (default %(default)s)"
    )
    parser.add_argument("--no-wait", action="store_true", help="end as soon as the broker has the order; see 'rollouts' later")
    parser.add_argument("--id", default="", help="send this order again under its old id: the same id is one order")
    return parser


def show_devices(args: argparse.Namespace) -> int:
    with _session(args) as (session, _):
        chosen = _matching(session, args.selector)
    if args.json:
        print(json.dumps([{"state": d.state, **{k: v for k, v in asdict(d.status).items() if k != "state"}} for d in chosen], indent=2))
    elif chosen:
        print(table(("device", "state", "profile", "arch", "models", "labels", "agent", "since"), [_device_row(d) for d in chosen]))
    else:
        print("no device has told this broker of itself", file=sys.stderr)
    return 0


def deploy(args: argparse.Namespace) -> int:
    model, version = parse_version(args.what)
    order = {"model": model, "version": version}
    if args.repo is not None:
        order["digest"] = _published_digest(args.repo, model, version)
    return _carry_out(args, "deploy", order)


def rollback(args: argparse.Namespace) -> int:
    return _carry_out(args, "rollback", {"model": parse_model(args.model)})


def ask(args: argparse.Namespace) -> int:
    return _carry_out(args, args.command, {})


def watch(args: argparse.Namespace) -> int:
    selector = parse_selector(args.selector)
    clock = SystemClock()
    stop = threading.Event()
    with _session(args, metrics=True) as (session, _):
        view = Watch(session, selector, clock, sys.stdout, as_json=args.json, in_place=sys.stdout.isatty() and not args.once)
        if args.once:
            view.once(args.seconds or 10.0)
        else:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
            end_s = monotonic_s(clock) + args.seconds if args.seconds else float("inf")
            view.run(lambda: stop.is_set() or monotonic_s(clock) >= end_s)
    if not view.saw_anybody():
        print(f"edge-fleet: no device matches {selector} on this broker", file=sys.stderr)
        return 1
    return 0


def show_rollouts(args: argparse.Namespace) -> int:
    if args.collect:
        with _session(args) as (session, store):
            end_s = monotonic_s(SystemClock()) + args.collect
            while monotonic_s(SystemClock()) < end_s and not _all_in(store, args.id):
                session.next(0.2)
            session.flush()  # what was heard last is acknowledged too
    store = FleetStore(args.state or default_state_dir(), SystemClock())
    try:
        past = store.rollouts(rollout=args.id)
    finally:
        store.close()
    if args.id and not past:
        raise EdgeError(f"{args.id}: no such rollout is known here; see 'edge-fleet rollouts'")
    if args.json:
        print(json.dumps([asdict(rollout) for rollout in past], indent=2))
    elif args.id:
        print(past_table(past[0]))
    else:
        print(table(("id", "started", "order", "to", "results"), [past_row(rollout) for rollout in past], wide_last=True))
    return 0


def _all_in(store: FleetStore, rollout: str | None) -> bool:
    """Whether every device's final result of ``rollout`` is known; never for all rollouts together."""
    past = store.rollouts(rollout=rollout) if rollout else ()
    return bool(past) and all(outcome.phase in FINAL_STATUSES for outcome in past[0].outcomes)


def _carry_out(args: argparse.Namespace, kind: str, order: Mapping[str, Any]) -> int:
    if args.id and not valid_word(args.id):
        raise UsageError(f"--id {args.id!r}: 1 to 64 letters, digits, '.', '_' or '-'")
    selector = parse_selector(args.to)
    clock = SystemClock()
    command = make_command(kind, order, clock, timeout_s=args.timeout, command_id=args.id)
    with _session(args) as (session, store):
        rollout = Rollout(command, select(session.inventory.devices(), selector), start_ns=clock.monotonic_ns())
        dispatcher = Dispatcher(session, store, clock, _quiet if args.json else _progress(rollout))
        dispatcher.begin(rollout, str(selector))
        if args.no_wait:
            dispatcher.leave(rollout)
            print_left(rollout, as_json=args.json)
            return 0
        try:
            dispatcher.wait(rollout, args.timeout)
        except KeyboardInterrupt:
            print(
                f"edge-fleet: left; the order stands. Look again: edge-fleet rollouts {command.id} --collect {COLLECT_S}", file=sys.stderr
            )
            raise
    print_end(rollout, as_json=args.json)
    return 0 if rollout.succeeded else 1


def _published_digest(repo: Path, model: str, version: str) -> str:
    # only here: everything else in this file works without the signing libraries
    from fleet_controller.repository import Repository

    repository = Repository(repo, SystemClock())
    found = repository.find(model, version)
    if found is None:
        there = ", ".join(f"{t.model}@{t.version}" for t in repository.targets()) or "nothing"
        raise EdgeError(f"{repo}: {model}@{version} is not published there (published: {there})")
    return found.sha256


@contextmanager
def _session(args: argparse.Namespace, *, metrics: bool = False) -> Iterator[tuple[FleetSession, FleetStore]]:
    address = broker_address(args)
    clock = SystemClock()
    store = FleetStore(args.state or default_state_dir(), clock)
    try:
        with FleetSession(address, store, clock, lambda line: print(f"edge-fleet: {clean(line)}", file=sys.stderr)) as session:
            session.connect(metrics=metrics)
            yield session, store
    finally:
        store.close()


def _matching(session: FleetSession, text: str) -> tuple[Device, ...]:
    selector = parse_selector(text)
    everyone = session.inventory.devices()
    return select(everyone, selector) if everyone else ()


def _device_row(device: Device) -> tuple[str, ...]:
    status = device.status
    models = " ".join(f"{m.name}@{m.version}" + ("" if m.update == "IDLE" else f" ({m.update})") for m in status.models)
    labels = " ".join(f"{key}={value}" for key, value in sorted(status.labels.items()))
    return (
        device.id,
        device.state,
        *(text or "-" for text in (status.profile, status.arch, models, labels, status.agent_version, status.t)),
    )


def _progress(rollout: Rollout) -> Callable[[Target, str], None]:
    width = max(len(target.device) for target in rollout.targets)

    def show(target: Target, line: str) -> None:
        print(clean(f"  {target.device:{width}}  {line}"), file=sys.stderr, flush=True)

    return show


def _quiet(_target: Target, _line: str) -> None:
    """With --json only the end is printed."""


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "devices": show_devices,
    "deploy": deploy,
    "rollback": rollback,
    "ping": ask,
    "models": ask,
    "watch": watch,
    "rollouts": show_rollouts,
}
