"""Models and pipelines together: who is linked to whom, and how all of a model's pipelines move to another version."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from edge_agent.addresses import Listener
from edge_agent.clock import monotonic_s
from edge_agent.config import PipelineConfig
from edge_agent.errors import EdgeError
from edge_agent.inference.context import Context, ModelVersion
from edge_agent.inference.front import FrontConfig, FrontHandle, OnCall
from edge_agent.inference.memory import private_mib
from edge_agent.inference.models import ModelService
from edge_agent.inference.pipelines import PipelineHandle
from edge_agent.inference.workers import InlineWorker, Server, Worker
from edge_agent.inference.zygote_client import Exit
from edge_agent.pipeline.shadow import ShadowReport, sum_of
from edge_agent.telemetry.latency import EMPTY, merge, percentile
from edge_agent.values import HealthSample, ModelStatus, PipelineStatus

LOOK_EVERY_S = 1.0
KEPT = "it remembers its past inside the network, so it serves one pipeline and not the API, where streams would mix"


class Plane:
    """The engine's state. Loop's thread only."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.services: dict[str, ModelService] = {}
        self.pipelines: dict[str, PipelineHandle] = {}
        self.candidates: dict[str, Worker] = {}
        self.front: FrontHandle | None = None

    def look_after(self) -> None:
        """From now on, about once a second, end processes that are stuck."""
        now_s = monotonic_s(self._context.clock)
        for handle in self.pipelines.values():
            handle.end_if_stuck(now_s)
        if self.front is not None:
            self.front.end_if_stuck(now_s)
        self._context.loop.later(LOOK_EVERY_S, self.look_after)

    def service(self, model: str) -> ModelService:
        """The service of ``model``, made when it is new."""
        if model not in self.services:
            self.services[model] = ModelService(self._context, self._context.model(model), self._relink)
        return self.services[model]

    def serve(self, version: ModelVersion) -> Server:
        """Start serving ``version`` with a fresh worker."""
        service = self.service(version.model)
        worker = service.start(version)
        service.serve(worker)
        return worker

    def add_pipeline(self, config: PipelineConfig) -> PipelineHandle:
        """Start the pipeline's process. Raises EdgeError when its name is taken or one of its models is not served."""
        if config.name in self.pipelines:
            raise EdgeError(f"pipeline {config.name}: there is one of this name already")
        for model in config.models:
            service = self.services.get(model)
            if service is None or service.version is None:
                raise EdgeError(f"pipeline {config.name}: model {model} is not served")
            self._refuse_shared_state(config.name, service)
        handle = PipelineHandle(self._context, config, self._link, self._worker_hung, self._inline_died)
        self.pipelines[config.name] = handle
        self._link(handle)
        return handle

    def lacks(self, config: PipelineConfig) -> str:
        """The first model of ``config`` that neither serves nor is about to, with why; empty when there is none."""
        for model in config.models:
            status = self.services[model].status() if model in self.services else None
            if status is None or status.state not in ("serving", "starting", "switching"):
                return f"it waits for model {model}" + (f" ({status.last_error or status.state})" if status is not None else "")
        return ""

    def _refuse_shared_state(self, name: str, service: ModelService) -> None:
        """What a model keeps in itself belongs to one stream: two pipelines would mix theirs up."""
        others = [handle.name for handle in self._of(service.name)]
        if self._keeps(service.name) and others:
            raise EdgeError(f"pipeline {name}: model {service.name} remembers its own past and serves pipeline {others[0]} already")

    def remove_pipeline(self, name: str) -> None:
        handle = self.pipelines.pop(name, None)
        if handle is not None:
            handle.stop()

    def front_links(self, model: str) -> list[Future[None]]:
        """Resolve when the local API asks the workers of ``model`` that it was linked to."""
        return [attachment.taken for attachment in self.front.linkage.attachments(model)] if self.front is not None else []

    def add_front(self, config: FrontConfig, listeners: Sequence[Listener], on_call: OnCall) -> FrontHandle:
        """Start the local API on sockets that listen already."""
        front = FrontHandle(self._context, config, listeners, self._link, self._worker_hung, self._inline_died, on_call)
        self.front = front
        self._link(front)
        return front

    def try_version(self, version: ModelVersion) -> Worker:
        """Start a candidate that loads and measures itself."""
        self.shadow(version.model, None)
        self.end_candidate(version.model)
        worker = self.service(version.model).start(version, trial=True)
        assert isinstance(worker, Worker)
        self.candidates[version.model] = worker
        return worker

    def take_candidate(self, model: str, digest: str) -> Server | None:
        """What will serve: the ready candidate when it is of ``digest``, or its stand-in for the inline lane; any other is ended."""
        worker = self.candidates.get(model)
        if worker is None or worker.version.digest != digest or not worker.serving:
            self.end_candidate(model)
            return None
        if self._context.model(model).lane == "inline":
            self.end_candidate(model)
            return self.service(model).start(worker.version)
        return self.candidates.pop(model)

    def end_candidate(self, model: str) -> None:
        worker = self.candidates.pop(model, None)
        if worker is not None and worker.alive:
            # A candidate has nothing to finish, and one that hangs would not listen.
            worker.kill()

    def discard(self, model: str) -> None:
        """End a candidate that will not serve; where it took the serving version's place, that serves again."""
        self.shadow(model, None)
        self.end_candidate(model)
        if model in self.services:
            self.services[model].resume()

    def shadow(self, model: str, worker: Worker | None) -> None:
        """Have ``worker`` answer unseen beside the serving version in every pipeline of ``model``; ``None`` ends that."""
        for handle in self._of(model):
            handle.shadow(worker)

    def shadowed(self, model: str, digest: str) -> ShadowReport:
        """What the pipelines of ``model`` saw of the shadow ``digest`` so far."""
        reports = [handle.told.shadow for handle in self._of(model) if handle.told.shadow.digest == digest]
        return sum_of(digest, reports)

    def lead_to(self, model: str, worker: Server) -> list[Future[None]]:
        """Begin a switch: everyone who asks ``model`` is offered ``worker``; one future for each that has to take it."""
        self.service(model).offer(worker)
        taken = []
        for asker in self._askers(model):
            if asker.alive:
                attachment = asker.linkage.current(model)
                if attachment is None or attachment.worker is not worker:
                    raise EdgeError(f"{asker.name} could not be linked to the new version")
                taken.append(attachment.taken)
        return taken

    def settle(self, model: str, worker: Server) -> None:
        """Make the switch last. Raises EdgeError when the new worker died meanwhile."""
        if not worker.serving:
            raise EdgeError(f"{worker.version.title}: the new worker died while pipelines moved to it")
        service = self.service(model)
        before = service.version.manifest.version if service.version is not None else ""
        service.serve(worker)
        data = {"model": model, "version": worker.version.manifest.version, "previous": before, "digest": worker.version.digest}
        self._context.tell("swapped", "info", f"{worker.version.title} serves", data)

    def lead_back(self, model: str, worker: Server) -> None:
        """Undo a switch that failed."""
        service = self.service(model)
        service.resume()
        service.offer(None)
        if worker.alive:
            worker.end()

    def withdraw_pipelines(self, model: str) -> list[Future[Exit]]:
        """End the pipelines of ``model``; there is nothing for them to ask any more."""
        return [self.pipelines.pop(handle.name).stop() for handle in self._of(model)]

    def withdraw(self, model: str) -> list[Future[Exit]]:
        """Serve ``model`` no more; its pipelines must have ended."""
        self.end_candidate(model)
        service = self.services.pop(model, None)
        if service is None or service.version is None:
            return []
        data = {"model": model, "version": service.version.manifest.version, "digest": service.version.digest}
        self._context.tell("withdrawn", "warning", f"{service.version.title} serves no more, and nothing does in its place", data)
        if self.front is not None:
            self.front.withdrawn(model)
        return [worker.ended for worker in service.stop()]

    def pause(self, model: str, why: str) -> list[Future[Exit]]:
        """End the workers of ``model`` and start none until it is served or resumed again; ``why`` is unloaded or switching."""
        return [worker.ended for worker in self.service(model).pause(why)]

    def resume(self, model: str) -> list[Server]:
        """Serve a paused model again; the workers that load."""
        service = self.service(model)
        service.resume()
        return list(service.workers)

    def mapped(self, version: ModelVersion) -> bool:
        """Whether a worker of ``version`` would leave weights that lie beside the model where they lie."""
        return not self._context.options_of(version).prepack

    def worker_mib(self, model: str) -> float:
        """What the workers of ``model`` would give back if they ended: their own pages, not those they share."""
        pids = [worker.pid for worker in self.service(model).workers if worker.alive and worker.pid is not None]
        return sum(private_mib(pid) or 0.0 for pid in pids)

    def health(self, model: str) -> HealthSample:
        """Raises EdgeError for a model that was never served."""
        service = self.services.get(model)
        if service is None or service.version is None:
            raise EdgeError(f"model {model} is not served")
        digest = service.version.digest
        kept = [by_model for handle in self._of(model) for by_model in (handle.told.serving, handle.ended)]
        totals = [by_model[model] for by_model in kept if model in by_model and by_model[model].digest == digest]
        if self.front is not None:
            totals.append(self.front.totals(model, digest))
        infer, windows, errors = EMPTY, 0, 0
        for total in totals:
            windows, errors, infer = windows + total.windows, errors + total.errors, merge(infer, total.infer)
        return HealthSample(windows, errors, service.crashes, percentile(infer, 95))

    def processes(self) -> list[tuple[str, int]]:
        found: list[tuple[str, Server]] = []
        for service in self.services.values():
            found += [("worker", worker) for worker in (*service.workers, service.next) if worker is not None]
        found += [("candidate", worker) for worker in self.candidates.values()]
        workers = [(f"{role}:{w.version.title}", w.pid) for role, w in found if w.alive]
        pipelines = [(f"pipeline:{h.name}", h.child.pid) for h in self.pipelines.values() if h.alive]
        front = [("api", self.front.child.pid)] if self.front is not None and self.front.alive else []
        zygote = [("zygote", self._context.zygote.pid)]
        return [(role, pid) for role, pid in (*zygote, *workers, *pipelines, *front) if pid is not None]

    def progress(self) -> int:
        return sum(handle.windows_before + handle.told.counters.windows for handle in self.pipelines.values())

    def stalled_s(self) -> float:
        now_s = monotonic_s(self._context.clock)
        front = [self.front.stalled_s(now_s)] if self.front is not None else []
        return max((*(handle.stalled_s(now_s) for handle in self.pipelines.values()), *front), default=0.0)

    def stop_pipelines(self) -> list[Future[Exit]]:
        front = [self.front.stop()] if self.front is not None else []
        return [*front, *(handle.stop() for handle in self.pipelines.values())]

    def stop_workers(self) -> list[Future[Exit]]:
        for model in list(self.candidates):
            self.end_candidate(model)
        return [worker.ended for service in self.services.values() for worker in service.stop()]

    def pipeline_statuses(self) -> tuple[PipelineStatus, ...]:
        """As each last told; one that waits says for what."""
        return tuple(handle.status(self.lacks(handle.config)) for handle in self.pipelines.values())

    def statuses(self) -> tuple[ModelStatus, ...]:
        return tuple(status for service in self.services.values() if (status := service.status()) is not None)

    def pipelines_of(self, model: str) -> list[str]:
        """Names of the pipelines that ask ``model``, first or later."""
        return [handle.name for handle in self._of(model)]

    def _of(self, model: str) -> list[PipelineHandle]:
        return [handle for handle in self.pipelines.values() if model in handle.models]

    def _keeps(self, model: str) -> bool:
        """Whether ``model`` remembers its past inside the network, which is then one stream's alone."""
        service = self.services.get(model)
        return service is not None and service.version is not None and service.version.manifest.keeps_state_in_graph

    def _tell_front(self, front: FrontHandle) -> None:
        front.tell_models(self.statuses(), {model: KEPT for model in self.services if self._keeps(model)})

    def _askers(self, model: str) -> list[PipelineHandle | FrontHandle]:
        return [*self._of(model), *([self.front] if self.front is not None and not self._keeps(model) else [])]

    def _relink(self, service: ModelService) -> None:
        """Bring everyone who asks the model to the workers they should be linked to; tell them of workers that died."""
        for asker in self._askers(service.name):
            for worker in (*service.workers, service.next):
                if worker is not None and not worker.alive:
                    asker.linkage.lost(worker)
            asker.aim(service.name, service.targets)
        if self.front is not None:
            self._tell_front(self.front)

    def _link(self, asker: PipelineHandle | FrontHandle) -> None:
        models = list(self.services) if isinstance(asker, FrontHandle) else asker.models
        for model in models:
            if asker in self._askers(model):
                asker.aim(model, self.service(model).targets)
        if isinstance(asker, FrontHandle):
            self._tell_front(asker)

    def _worker_hung(self, worker: Server) -> None:
        self.service(worker.version.model).hung(worker)

    def _inline_died(self, worker: InlineWorker, exit_: Exit) -> None:
        self.service(worker.version.model).inline_died(worker, exit_)
