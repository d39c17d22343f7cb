"""Distillation: a student learns to answer as its teacher does, on samples without labels (Hinton et al. 2015, arXiv 1503.02531).

In: ``teacher.onnx``, ``student.onnx`` and ``samples.npz`` (``input_0`` ..., ``labels`` optional, and the answers ``teacher_0`` and
``student_0`` that another runtime gave to the first rows). Out: ``weights.npz``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from converters.tools.scripts.keras_code import Refused
from converters.tools.scripts.torch_graph import Network

THREADS = 1
"""Sums are split by threads, so another number of them would give other weights; one also keeps its pace on a busy machine."""
WORST = 1e-3


def main(folder: Path, job: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    import numpy as np
    import torch

    torch.manual_seed(int(job["seed"]))
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    teacher, student = Network(folder / "teacher.onnx"), Network(folder / "student.onnx")
    with np.load(folder / "samples.npz", allow_pickle=False) as held:
        arrays = {name: torch.from_numpy(held[name]) for name in held.files}
    feeds = {name: arrays[f"input_{i}"] for i, name in enumerate(job["inputs"])}
    for name, network in (("teacher", teacher), ("student", student)):
        _agree(name, network, feeds, arrays[f"{name}_0"])
    lesson = Lesson(job, teacher, student, arrays.get("labels"))
    told = lesson.learn(feeds, tell)
    np.savez(folder / "weights.npz", **{f"weight_{i}": student.constants[name].detach().numpy() for i, name in enumerate(student.weights)})
    return {"weights": student.weights, "framework": f"PyTorch {torch.__version__}", **told}


def _agree(name: str, network: Network, feeds: Mapping[str, Any], expected: Any) -> None:
    """Raises Refused when a network is understood otherwise here than by the runtime it will be run by."""
    import torch

    with torch.no_grad():
        made = network.run({key: value[: len(expected)] for key, value in feeds.items()})[network.outputs[0]]
    if made.shape != expected.shape:
        made = made.reshape(expected.shape) if made.numel() == expected.numel() else made
    if made.shape != expected.shape or not float((made - expected).abs().max()) <= WORST * max(float(expected.abs().max()), 1e-6):
        raise Refused(f"cannot be trained here: PyTorch answers otherwise than ONNX Runtime for the {name}")


class Lesson:
    """What is compared, and how far the student has come. Held-out rows decide which weights are kept."""

    def __init__(self, job: dict[str, Any], teacher: Network, student: Network, labels: Any) -> None:
        self.job, self.teacher, self.student, self.labels = job, teacher, student, labels
        self._asked, soft = teacher.scores()
        self._said, _ = student.scores()
        self.classes = soft or bool(job["classes"])
        self.scale = 1.0

    def learn(self, feeds: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
        """Trains the student's constants in place; the losses on held-out rows before and after, and how it ended."""
        import torch

        job, started = self.job, time.monotonic()
        draw = torch.Generator().manual_seed(int(job["seed"]))
        count = len(next(iter(feeds.values())))
        order = torch.randperm(count, generator=draw)
        kept = max(1, int(count * job["held_out"]))
        held, shown = order[:kept], order[kept:]
        with torch.no_grad():
            self.scale = float(self._answers(feeds, shown).var()) + 1e-12
        weights = [self.student.constants[name].requires_grad_() for name in self.student.weights]
        steps = math.ceil(len(shown) / job["batch"])
        optimizer = torch.optim.Adam(weights, lr=job["rate"])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, job["epochs"] * steps)
        first = best = self._loss_on(feeds, held)
        saved, since, ended, epoch = [w.detach().clone() for w in weights], 0, "all epochs", 0
        for epoch in range(1, job["epochs"] + 1):
            for rows in shown[torch.randperm(len(shown), generator=draw)].split(job["batch"]):
                optimizer.zero_grad()
                self._loss(self._varied(feeds, rows, draw), rows).backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                schedule.step()
            now = self._loss_on(feeds, held)
            since = 0 if now < best else since + 1
            if now < best:
                best, saved = now, [w.detach().clone() for w in weights]
            tell(f"distilling: round {epoch} of {job['epochs']}, loss {now:.4g} (at first {first:.4g})")
            if since >= job["patience"] or time.monotonic() - started > job["seconds"]:
                ended = "no more progress" if since >= job["patience"] else "time"
                break
        with torch.no_grad():
            for weight, value in zip(weights, saved, strict=True):
                weight.copy_(value)
        return {"first": first, "best": best, "rounds": epoch, "ended": ended, "classes": self.classes}

    def _varied(self, feeds: dict[str, Any], rows: Any, draw: Any) -> dict[str, Any]:
        """The rows with a little noise, and shifted where that was allowed: the teacher answers for them as well."""
        import torch

        made = {}
        most = int(self.job["shift"])
        for name, array in feeds.items():
            picked = array[rows]
            if picked.is_floating_point():
                size = self.job["noise"] * float(array.std()) if array.numel() > 1 else 0.0
                picked = picked + size * torch.randn(picked.shape, generator=draw)
                if most and picked.dim() == 4:
                    by = torch.randint(-most, most + 1, (2,), generator=draw).tolist()
                    picked = torch.roll(picked, by, self.job["axes"])
            made[name] = picked
        return made

    def _answers(self, feeds: dict[str, Any], rows: Any) -> Any:
        import torch

        with torch.no_grad():
            parts = [self.teacher.run({n: a[part] for n, a in feeds.items()})[self._asked] for part in rows.split(256)]
        return torch.cat(parts)

    def _loss_on(self, feeds: dict[str, Any], rows: Any) -> float:
        import torch

        with torch.no_grad():
            parts = [(float(self._loss({n: a[part] for n, a in feeds.items()}, part)), len(part)) for part in rows.split(256)]
        return sum(loss * size for loss, size in parts) / len(rows)

    def _loss(self, feeds: dict[str, Any], rows: Any) -> Any:
        """T^2 KL(teacher || student) at temperature T and alpha of cross-entropy with labels; squared difference for what is no class."""
        import torch
        import torch.nn.functional as f

        with torch.no_grad():
            wanted = self.teacher.run(feeds)[self._asked]
        said = self.student.run(feeds)[self._said]
        if not self.classes:
            return ((said - wanted) ** 2).mean() / self.scale
        t, alpha = float(self.job["temperature"]), float(self.job["alpha"])
        soft = f.kl_div(f.log_softmax(said / t, -1), f.log_softmax(wanted / t, -1), reduction="batchmean", log_target=True) * t * t
        return soft if self.labels is None or not alpha else (1 - alpha) * soft + alpha * f.cross_entropy(said, self.labels[rows])
