"""The child that runs a model in a runtime version of another environment: ``python -m converters.prove_apart FOLDER``.

Runs under that environment's interpreter, which has numpy, the runtime and nothing of ours but what is linked into the folder: the
standard library, numpy and one runtime are all it may import. The feeds were prepared by a normal job and lie in ``feed_N.npy``, samples
along the first axis, in the order of ``job["feeds"]``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converters.inference import Answer, answered, infer_all, loaded
from converters.state import from_tree


def feeds(folder: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """Input arrays by name, for each sample."""
    held = [np.load(folder / f"feed_{i}.npy", mmap_mode="r") for i in range(len(names))]
    for arrays in zip(*held, strict=True):
        yield {name: np.array(array) for name, array in zip(names, arrays, strict=True)}


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])

    def work(job: Mapping[str, Any]) -> Answer:
        state = from_tree(job["state"])
        runtime = loaded(job["model"], state, job["sizes"])
        return infer_all(runtime, feeds(folder, job["feeds"]), len(job["rows"]), folder, state, job["starts"])

    return answered(folder, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
