"""Train the three networks of the converter's benchmarks on handwritten digits and export them as float ONNX.

Not part of the product: it needs PyTorch, which nothing else here does. The files it writes are committed beside it, so run it only to
change them::

    python -m venv /tmp/train && /tmp/train/bin/pip install torch onnx numpy
    PYTHONPATH=. /tmp/train/bin/python benchmarks/nets/train.py

``plain`` is a small convolutional network at 8x8, ``resnet8`` the MLPerf Tiny topology at 32x32 and twice its width, ``depthwise`` is built
like MobileNet v1 with ReLU6 at 32x32.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.nets.digits import images, model

OPSET = 17


class Block(nn.Module):
    """Two convolutions and a shortcut, which is a 1x1 convolution where the size changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs))
        self.short = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(self.first(x)) + self.short(x))


def plain() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)),
    )


def resnet8() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(Block(32, 32, 1), Block(32, 64, 2), Block(64, 128, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)),
    )


def depthwise() -> nn.Module:
    def separable(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
        deep = (nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs), nn.BatchNorm2d(inputs), nn.ReLU6())
        return (*deep, nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU6())

    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU6()),
        *separable(32, 64, 1),
        *separable(64, 128, 2),
        *separable(128, 128, 1),
        *separable(128, 256, 2),
        *separable(256, 256, 1),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)),
    )


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {"plain": (plain, 40), "resnet8": (resnet8, 14), "depthwise": (depthwise, 40)}
"""Network and epochs."""


def train(name: str) -> None:
    torch.manual_seed(7)
    build, epochs = NETS[name]
    x, y, test, truth = (torch.from_numpy(array) for array in images(name))
    net = build()
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * -(-len(x) // 50))
    shift = max(x.shape[-1] // 16, 1)
    for _ in range(epochs):
        net.train()
        for batch in torch.randperm(len(x)).split(50):
            moved = torch.roll(x[batch], [int(v) for v in torch.randint(-shift, shift + 1, (2,))], (2, 3))
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(moved + 0.05 * torch.randn_like(moved)), y[batch]).backward()
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        right = (net(test).argmax(1) == truth).float().mean()
    torch.onnx.export(net, (x[:1],), str(model(name)), input_names=["image"], output_names=["logits"], opset_version=OPSET, dynamo=False)
    print(f"{name}: {sum(p.numel() for p in net.parameters())} parameters, {100 * right:.2f} % of {len(test)} test images", flush=True)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or NETS:
        train(chosen)
