"""Train the two example models on scikit-learn's bundled handwritten digits and export them as float ONNX.

Not part of the product: it needs PyTorch and scikit-learn, which nothing else here does. The files it writes are committed
beside it, so run it only to change them::

    python -m venv /tmp/train && /tmp/train/bin/pip install torch scikit-learn onnx
    /tmp/train/bin/python examples/digits/train.py --seed 7

Data: 1,797 grey images of 8x8 pixels, whole values 0..16 (UCI "Optical Recognition of Handwritten Digits", as shipped in
``sklearn.datasets.load_digits``). The first 1,000 of a seeded shuffle train; the other 797 are only ever tested on.

The models take ``image`` float32 (1, 1, 8, 8) in 0..1 and give ``logits`` float32 (1, 10).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

TRAIN_COUNT = 1000
CALIBRATION_COUNT = 200
OPSET = 17


def small_net() -> nn.Module:
    """Version 1: two narrow convolutions, about 10,000 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def better_net() -> nn.Module:
    """Version 2: three wider, normalized convolutions, about 70,000 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, 48), nn.ReLU(), nn.Linear(48, 10)),
    )


def shifted(images: torch.Tensor) -> torch.Tensor:
    """``images`` (n, 1, 8, 8), each moved by -1, 0 or 1 pixels both ways; zeros come in at the border."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    rows, columns = torch.randint(0, 3, (2, len(images)))
    return torch.stack([p[:, r : r + 8, c : c + 8] for p, r, c in zip(padded, rows.tolist(), columns.tolist(), strict=True)])


def train(net: nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int, *, augment: bool) -> None:
    """Adam with a cosine schedule on cross-entropy; batches of 64."""
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        net.train()
        for batch in torch.randperm(len(images)).split(64):
            taken = shifted(images[batch]) if augment else images[batch]
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(taken), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    net.eval()


def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad():
        return float((net(images).argmax(1) == labels).float().mean())


def export(net: nn.Module, path: Path) -> None:
    """Write ``net`` as one ONNX file, weights inside, batch fixed at one."""
    example = torch.zeros(1, 1, 8, 8)
    torch.onnx.export(net, (example,), str(path), input_names=["image"], output_names=["logits"], opset_version=OPSET, dynamo=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)

    digits = load_digits()
    pixels = digits.data.astype(np.uint8)
    target = digits.target.astype(np.int64)
    order = np.random.default_rng(options.seed).permutation(len(pixels))
    train_rows, test_rows = order[:TRAIN_COUNT], order[TRAIN_COUNT:]
    images = torch.from_numpy(pixels.reshape(-1, 1, 8, 8).astype(np.float32) / 16.0)
    labels = torch.from_numpy(target)

    for name, net, epochs, augment in (("digits_v1", small_net(), 60, False), ("digits_v2", better_net(), 60, True)):
        train(net, images[train_rows], labels[train_rows], epochs, augment=augment)
        export(net, options.out / f"{name}.onnx")
        print(f"{name}: test accuracy {accuracy(net, images[test_rows], labels[test_rows]):.4f}")

    np.savez_compressed(options.out / "digits.npz", x=pixels, y=target.astype(np.uint8), train=train_rows, test=test_rows)
    rows = np.concatenate([train_rows[:CALIBRATION_COUNT], test_rows])
    np.savez_compressed(
        options.out / "samples.npz", image=pixels[rows], labels=target[rows].astype(np.uint8), calibrate=np.arange(CALIBRATION_COUNT)
    )


if __name__ == "__main__":
    main()
