"""Models and pipelines together: who is linked to whom, and how all of a model's pipelines move to another version."""

from __future__ import annotations

from concurrent.futures import Future

from edge_agent.clock import monotonic_s
from edge_agent.config import PipelineConfig
from edge_agent.errors import EdgeError
from edge_agent.inference.context import Context, ModelVersion
from edge_agent.inference.models import ModelService
from edge_agent.inference.pipelines import PipelineHandle
from edge_agent.inference.workers import Worker
from edge_agent.inference.zygote_client import Exit
from edge_agent.pipeline.told import ServingTotals
from edge_agent.telemetry.latency import EMPTY, merge, percentile
from edge_agent.values import HealthSample


class Plane:
    """The engine's state. Loop's thread only."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.services: dict[str, ModelService] = {}
        self.pipelines: dict[str, PipelineHandle] = {}
        self.candidates: dict[str, Worker] = {}

    def service(self, model: str) -> ModelService:
        """The service of ``model``, made when it is new."""
        if model not in self.services:
            self.services[model] = ModelService(self._context, model, self._relink)
        return self.services[model]

    def serve(self, version: ModelVersion) -> Worker:
        """Start serving ``version`` with a fresh worker."""
        service = self.service(version.model)
        worker = service.start(version)
        service.serve(worker)
        return worker

    def add_pipeline(self, config: PipelineConfig) -> PipelineHandle:
        """Start the pipeline's process. Raises EdgeError when its name is taken or its model is not served."""
        if config.name in self.pipelines:
            raise EdgeError(f"pipeline {config.name}: there is one of this name already")
        service = self.services.get(config.model)
        if service is None or service.worker is None:
            raise EdgeError(f"pipeline {config.name}: model {config.model} is not served")
        handle = PipelineHandle(self._context, config, self._link, self._worker_hung)
        self.pipelines[config.name] = handle
        self._link(handle)
        return handle

    def remove_pipeline(self, name: str) -> None:
        handle = self.pipelines.pop(name, None)
        if handle is not None:
            handle.stop()

    def try_version(self, version: ModelVersion) -> Worker:
        """Start a candidate that loads and measures itself."""
        self.discard(version.model)
        worker = self.service(version.model).start(version, trial=True)
        self.candidates[version.model] = worker
        return worker

    def take_candidate(self, model: str, digest: str) -> Worker | None:
        """The ready candidate when it is of ``digest``; any other is ended."""
        worker = self.candidates.get(model)
        if worker is None or worker.version.digest != digest or not worker.serving:
            self.discard(model)
            return None
        return self.candidates.pop(model)

    def discard(self, model: str) -> None:
        worker = self.candidates.pop(model, None)
        if worker is not None and not worker.child.exited.done():
            # A candidate has nothing to finish, and one that hangs would not listen.
            worker.kill()

    def lead_to(self, model: str, worker: Worker) -> list[Future[None]]:
        """Begin a switch: every pipeline of ``model`` is offered ``worker``; one future for each that it has to take."""
        service = self.service(model)
        service.offer(worker)
        taken = []
        for handle in self._of(model):
            if not handle.child.exited.done():
                attachment = handle.attachment
                if attachment is None or attachment.worker is not worker:
                    raise EdgeError(f"pipeline {handle.config.name} could not be linked to the new version")
                taken.append(attachment.taken)
        return taken

    def settle(self, model: str, worker: Worker) -> None:
        """Make the switch last. Raises EdgeError when the new worker died meanwhile."""
        if not worker.serving:
            raise EdgeError(f"{worker.version.title}: the new worker died while pipelines moved to it")
        service = self.service(model)
        before = service.version.manifest.version if service.version is not None else ""
        service.serve(worker)
        data = {"model": model, "version": worker.version.manifest.version, "previous": before, "digest": worker.version.digest}
        self._context.tell("swapped", "info", f"{worker.version.title} serves", data)

    def lead_back(self, model: str, worker: Worker) -> None:
        """Undo a switch that failed."""
        service = self.service(model)
        service.offer(None)
        if not worker.child.exited.done():
            worker.end()

    def withdraw_pipelines(self, model: str) -> list[Future[Exit]]:
        """End the pipelines of ``model``; there is nothing for them to ask any more."""
        return [self.pipelines.pop(handle.config.name).stop() for handle in self._of(model)]

    def withdraw(self, model: str) -> list[Future[Exit]]:
        """Serve ``model`` no more; its pipelines must have ended."""
        self.discard(model)
        service = self.services.pop(model, None)
        if service is None or service.version is None:
            return []
        data = {"model": model, "version": service.version.manifest.version, "digest": service.version.digest}
        self._context.tell("withdrawn", "warning", f"{service.version.title} serves no more, and nothing does in its place", data)
        return [worker.child.exited for worker in service.stop()]

    def health(self, model: str) -> HealthSample:
        """Raises EdgeError for a model that was never served."""
        service = self.services.get(model)
        if service is None or service.version is None:
            raise EdgeError(f"model {model} is not served")
        digest = service.version.digest
        infer, windows, errors = EMPTY, 0, 0
        for handle in self._of(model):
            total = _of_digest(handle.told.serving, digest).plus(_of_digest(handle.ended, digest))
            windows, errors, infer = windows + total.windows, errors + total.errors, merge(infer, total.infer)
        return HealthSample(windows, errors, service.crashes, percentile(infer, 95))

    def processes(self) -> list[tuple[str, int]]:
        found = []
        for service in self.services.values():
            found += [("worker", worker) for worker in (service.worker, service.next) if worker is not None]
        found += [("candidate", worker) for worker in self.candidates.values()]
        workers = [(f"{role}:{w.version.title}", w.child.pid) for role, w in found if not w.child.exited.done()]
        pipelines = [(f"pipeline:{h.config.name}", h.child.pid) for h in self.pipelines.values() if not h.child.exited.done()]
        zygote = [("zygote", self._context.zygote.pid)]
        return [(role, pid) for role, pid in (*zygote, *workers, *pipelines) if pid is not None]

    def progress(self) -> int:
        return sum(handle.windows_before + handle.told.counters.windows for handle in self.pipelines.values())

    def stalled_s(self) -> float:
        now_s = monotonic_s(self._context.clock)
        return max((handle.stalled_s(now_s) for handle in self.pipelines.values()), default=0.0)

    def stop_pipelines(self) -> list[Future[Exit]]:
        return [handle.stop() for handle in self.pipelines.values()]

    def stop_workers(self) -> list[Future[Exit]]:
        for model in list(self.candidates):
            self.discard(model)
        return [worker.child.exited for service in self.services.values() for worker in service.stop()]

    def _of(self, model: str) -> list[PipelineHandle]:
        return [handle for handle in self.pipelines.values() if handle.config.model == model]

    def _relink(self, service: ModelService) -> None:
        """Bring every pipeline of the model to the worker it should be linked to; tell it of workers that died."""
        for handle in self._of(service.name):
            for worker in (service.worker, service.next):
                if worker is not None and worker.child.exited.done():
                    handle.lost(worker)
            self._link(handle)

    def _link(self, handle: PipelineHandle) -> None:
        target = self.service(handle.config.model).target
        if target is not None and not handle.child.exited.done():
            handle.attach(target)

    def _worker_hung(self, worker: Worker) -> None:
        service = self.service(worker.version.model)
        service.hung(worker)


def _of_digest(totals: ServingTotals, digest: str) -> ServingTotals:
    return totals if totals.digest == digest else ServingTotals(digest)
