"""Puts an agent together: the one file that knows every adapter of the control process."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence

from edge_agent import birth
from edge_agent.agent import Agent, Parts
from edge_agent.board import choose_profile, device_facts, require_runtime, require_update_libraries
from edge_agent.clock import Clock, SystemClock, iso_utc
from edge_agent.commands import CommandDesk
from edge_agent.config import AgentConfig
from edge_agent.errors import CommandError
from edge_agent.events import EventFan
from edge_agent.factory import needed_runtimes
from edge_agent.inference.cgroup import open_cgroups
from edge_agent.inference.engine import Engine
from edge_agent.inference.memory import available_mib
from edge_agent.local_api import LocalApi
from edge_agent.model_options import ModelOptions, rates_of
from edge_agent.notify import Notifier
from edge_agent.orders import Orders
from edge_agent.places import Places
from edge_agent.ports import Reporter as Report
from edge_agent.protocol.codec import encode
from edge_agent.protocol.predictions import prediction_message
from edge_agent.protocol.topics import Topics
from edge_agent.results import ResultBoard
from edge_agent.runtimes.installed import installed
from edge_agent.serving.local_server import LocalServer
from edge_agent.serving.local_socket import socket_path
from edge_agent.telemetry.probe import Probe
from edge_agent.telemetry.reporter import Reporter
from edge_agent.transport.command_log import FileCommandLog
from edge_agent.transport.mqtt import MqttTransport
from edge_agent.transport.outbox import SqliteOutbox
from edge_agent.tuner import Tuner
from edge_agent.update.fetch_client import SubprocessFetcher
from edge_agent.update.journal import FileJournal
from edge_agent.update.request import Place
from edge_agent.update.store import FileStore
from edge_agent.update.updater import Updater
from edge_agent.values import Event, Prediction
from firmware_hooks.choose import choose_reader
from firmware_hooks.execute import run_hook

HOOK_TIMEOUT_S = 30.0
MIB = 1 << 20

Publish = Callable[[str, str, Prediction], None]


def assemble(config: AgentConfig) -> Agent:
    """An agent ready to start, in folders that are there and that it holds alone (``state_lock``).

    Raises ConfigError for what only the machine can tell (state folder, profile, runtimes).
    """
    clock = SystemClock()
    profile = choose_profile(config.device.profile)
    require_runtime()
    require_update_libraries(config.updates.repository)
    places = Places(config.device.state_dir)
    places.make()
    events = EventFan(logging.getLogger("edge_agent"))
    topics = Topics(config.device.id, config.mqtt.prefix)
    outbox = SqliteOutbox(places.outbox, quota_mib=config.mqtt.outbox_mib, clock=clock, report=events.report)
    store = FileStore(places.store)
    publish = _publisher(config, topics, outbox, clock, events.report)
    born: list[Agent] = []  # engine and updater call the agent that is made of them
    tuning = places.tuning if config.engine.tune else None
    options = ModelOptions(
        profile.runtimes,
        config.engine.threads,
        folder=tuning,
        rates_hz=rates_of(config.pipelines),
        mapped={model.name for model in config.models if model.mapped},
    )
    engine = Engine(
        store=store,
        clock=clock,
        report=events.report,
        config=config.engine,
        runtimes=needed_runtimes(config.models, store),
        publish=publish,
        on_crash_loop=lambda model, digest: born[0].rescue(model, digest),
        models=config.models,
        shadow_s=config.updates.shadow_s,
        unwanted=lambda: updater.interrupted,
        options=options.of,
        api=bool(config.api.listen or config.api.grpc),
        cgroups=open_cgroups() if config.engine.memory_limit_mib else None,
    )
    facts = device_facts(profile)
    place = Place(
        places.store,
        places.trust,
        config.updates.repository,
        config.updates.trusted_root,
        config.updates.max_bundle_mib * MIB,
    )
    fetcher = SubprocessFetcher(place, facts, store, fetch_timeout_s=config.updates.fetch_timeout_s)
    probe = Probe(board=choose_reader(profile), clock=clock)
    reporter = Reporter(
        device=config.device.id,
        interval_s=config.telemetry.interval_s,
        engine=engine,
        probe=probe,
        outbox=outbox,
        topics=topics,
        clock=clock,
        state_dir=config.device.state_dir,
        extra_roles=lambda: [("updater", pid)] if (pid := fetcher.pid) else [],
    )
    if config.mqtt.host:
        events.subscribe(reporter.events)
    updater = Updater(
        journal=FileJournal(places.journal),
        store=store,
        fetcher=fetcher,
        host=engine,
        clock=clock,
        report=events.report,
        hooks=lambda event, env: run_hook(config.updates.hooks_dir, event, env, timeout_s=HOOK_TIMEOUT_S),
        on_result=lambda command, status, reason, data: born[0].settle(command, status, reason, dict(data)),
        watch_s=config.updates.watch_s,
    )
    boot = uuid.uuid4().hex[:12]

    def status() -> bytes:
        return encode(
            birth.birth(
                config,
                profile=profile.name,
                boot=boot,
                runtimes=installed(),
                models=engine.models(),
                update=updater.record(),
                t=iso_utc(clock.wall_ns()),
            )
        )

    desk = CommandDesk(device=config.device.id, topics=topics, log=FileCommandLog(places.commands), outbox=outbox, clock=clock)
    will = encode(birth.last_will(config.device.id))
    transport = _transport(config, topics, outbox, clock, events, desk, will, status)
    if transport is not None:
        _feed_sources(config, transport, engine)
    parts = Parts(
        config=config,
        facts=facts,
        clock=clock,
        events=events,
        store=store,
        engine=engine,
        updater=updater,
        outbox=outbox,
        reporter=reporter,
        desk=desk,
        results=ResultBoard(),
        uploads=places.uploads,
        transport=transport,
        local=LocalServer(socket_path(config.device.runtime_dir)),
        api=LocalApi(config, engine, clock, events.report),
        tuner=_tuner(config, engine, options, events, clock),
        notifier=Notifier(),
        last_words=will,
        publish_status=lambda: outbox.put(topics.status, status(), keep=1, retain=True) if transport else None,
    )
    orders = Orders(parts)
    desk.handle({"ping": orders.on_ping, "models": orders.on_models, "deploy": orders.on_deploy, "rollback": orders.on_rollback})
    parts.local.handle(
        {
            "status": orders.call_status,
            "models": orders.call_models,
            "install": orders.call_install,
            "rollback": orders.call_rollback,
            "cancel": orders.call_cancel,
        }
    )
    agent = Agent(parts)
    born.append(agent)
    return agent


def _tuner(config: AgentConfig, engine: Engine, options: ModelOptions, events: EventFan, clock: Clock) -> Tuner | None:
    """Who measures on the board how its models run best, where that is wanted."""

    def say(kind: str, level: str, message: str, **data: object) -> None:
        events.report(Event(kind, level, message, clock.wall_ns(), data))

    return Tuner(engine, options, say, available_mib) if config.engine.tune else None


def _publisher(config: AgentConfig, topics: Topics, outbox: SqliteOutbox, clock: Clock, report: Report) -> Publish:
    unsendable: set[str] = set()

    def publish(pipeline: str, suffix: str, prediction: Prediction) -> None:
        age_ns = clock.monotonic_ns() - prediction.t_ns
        message = prediction_message(config.device.id, pipeline, prediction, t=iso_utc(clock.wall_ns() - age_ns))
        try:
            payload = encode(message)
        except CommandError as error:  # told once: the next prediction of the same model is most often just as large
            if pipeline not in unsendable:
                unsendable.add(pipeline)
                report(Event("message_unsendable", "error", f"{pipeline}: a prediction is given up: {error}", clock.wall_ns()))
            return
        unsendable.discard(pipeline)
        outbox.put(topics.predictions(suffix), payload)

    return publish


def _transport(
    config: AgentConfig,
    topics: Topics,
    outbox: SqliteOutbox,
    clock: Clock,
    events: EventFan,
    desk: CommandDesk,
    will: bytes,
    status: Callable[[], bytes],
) -> MqttTransport | None:
    """The broker connection with the command topics subscribed, or ``None`` when no broker is configured."""
    if not config.mqtt.host:
        return None

    def greet() -> list[tuple[str, bytes, bool]]:
        desk.reconnected()
        return [(topics.status, status(), True)]

    transport = MqttTransport(
        config.mqtt,
        client_id=f"edge-{config.device.id}",
        outbox=outbox,
        will_topic=topics.status,
        will_payload=will,
        birth=greet,
        clock=clock,
        report=events.report,
    )
    transport.subscribe(topics.command, desk.receive)
    transport.subscribe(topics.ack, desk.receive)
    return transport


def _feed_sources(config: AgentConfig, transport: MqttTransport, engine: Engine) -> None:
    """Pipelines that listen to a topic get its messages through the control process, which holds the one connection."""
    listeners: dict[str, list[str]] = {}
    for pipeline in config.pipelines:
        if pipeline.source.kind == "mqtt":
            listeners.setdefault(str(pipeline.source.options["topic"]), []).append(pipeline.name)
    for topic, names in listeners.items():
        transport.subscribe(topic, _deliver_to(engine, names))


def _deliver_to(engine: Engine, pipelines: Sequence[str]) -> Callable[[str, bytes], None]:
    def deliver(topic: str, payload: bytes) -> None:
        for pipeline in pipelines:
            engine.deliver(pipeline, topic, payload)

    return deliver
