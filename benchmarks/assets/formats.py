"""Assets whose figure is agreement: tables in mixed types, one network in two formats, awkward signatures, single operators."""

from __future__ import annotations

import csv
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.assets.bundles import Around, asked
from benchmarks.assets.case import Case, Figure, Figures, Refused, scores
from benchmarks.assets.stand import Stand
from edge_agent.bundle.manifest import Step
from edge_agent.errors import EdgeError
from edge_agent.values import TensorSpec

_SAMPLES = 43844


def tables(stand: Stand, folder: Path) -> Figures:
    with np.load(folder / "wine_test.npz") as held:
        x, truth, sklearn = held["X"].astype(np.float32), held["y"], held["proba"]
    words = sorted(set(truth))
    given = [_wine(stand, folder / f"wine_rf_{kind}.onnx", x) for kind in ("zipmap_string", "nozipmap")]
    found: dict[str, Figure] = {}
    first, second = given
    if isinstance(second, Refused):
        return {"wine: accuracy (ZipMap model)": second, "wine: max |proba - sklearn|": second, **_diabetes(stand, folder)}
    found["wine: max |proba - sklearn|"] = float(np.abs(second - sklearn).max())
    found["wine: accuracy (ZipMap model)"] = first if isinstance(first, Refused) else _right(first, words, truth)
    found["wine: both variants agree"] = first if isinstance(first, Refused) else float((first.argmax(1) == second.argmax(1)).mean())
    return {**found, **_diabetes(stand, folder)}


def _wine(stand: Stand, model: Path, x: Any) -> Any:
    """(rows, classes), or why not."""
    try:
        return scores(stand.stream(model, x))
    except EdgeError as error:
        return Refused(str(error))


def _right(given: Any, words: list[str], truth: Any) -> float:
    return float(np.mean([words[k] == word for k, word in zip(given.argmax(1), truth, strict=True)]))


def _diabetes(stand: Stand, folder: Path) -> Figures:
    with (folder / "diabetes_test.csv").open() as file:
        held = list(csv.DictReader(file))
    feeds = [{name: _cell(name, row[name]) for name in row if name not in ("target", "pred")} for row in held]
    names = "diabetes: R2 on 133 held rows", "diabetes: max |onnx - sklearn|"
    try:
        given = np.array([next(iter(answer.values())).item() for answer in stand.ask(folder / "diabetes_ridge_mixed_inputs.onnx", feeds)])
    except EdgeError as error:
        return dict.fromkeys(names, Refused(str(error)))
    target, sklearn = (np.array([float(row[key]) for row in held]) for key in ("target", "pred"))
    explained = 1 - ((given - target) ** 2).sum() / ((target - target.mean()) ** 2).sum()
    return {names[0]: float(explained), names[1]: float(np.abs(given - sklearn).max())}


def _cell(name: str, text: str) -> Any:
    if name == "sex":
        return np.array([[text]])
    return np.array([[float(text)]]).astype(np.int64 if name == "age" else np.float32)


def notes(stand: Stand, folder: Path) -> Figures:
    with np.load(folder / "audio_22050.npz") as held:
        windows = held["x"].astype(np.float32).reshape(-1, 1, _SAMPLES, 1) / 32767
    feeds = [{"serving_default_input_2:0": window} for window in windows]
    one, other = (stand.ask(folder / f"nmp.{kind}", feeds) for kind in ("onnx", "tflite"))
    names = [f"StatefulPartitionedCall:{k}" for k in (2, 1, 0)]
    apart = [max(float(np.abs(a[name] - b[name]).max()) for a, b in zip(one, other, strict=True)) for name in names]
    return {
        "outputs": len(one[0]),
        **{f"output {k} ({name}) max |onnx - tflite|": apart[k] for k, name in enumerate(names)},
        "note activations above 0.3": float(np.mean([(answer[names[0]] > 0.3).mean() for answer in one])),
    }


def awkward(stand: Stand, folder: Path) -> Figures:
    found: dict[str, Figure] = {"awkward ONNX models reproduced": _reproduced(stand, folder / "onnx")}
    for name in ("trained_lstm", "trained_lstm_int8"):
        found[f"{name} MNIST digits right of 10"] = _digits(stand, folder / "tflite", name)
    x = np.linspace(0, 2 * np.pi, 200, dtype=np.float32)
    for name in ("hello_world_float", "hello_world_int8"):
        given = scores(stand.stream(folder / "tflite" / f"{name}.tflite", x[:, None]))[:, 0]
        found[f"{name} max |y - sin x|"] = float(np.abs(given - np.sin(x)).max())
    with stand.served(folder / "tflite" / "split_concat.tflite") as bundle:
        found["split_concat inputs"] = len(bundle.manifest.inputs)
        found["split_concat outputs"] = len(bundle.manifest.outputs)
    found["custom op refused by name"] = float("fake-op-double" in _refusal(stand, folder / "tflite" / "custom_op_fake-op-double.tflite"))
    return found


def _reproduced(stand: Stand, folder: Path) -> Figure:
    right, refused = 0, []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=True) as held:
            feed = {name[3:]: held[name] for name in held.files if name.startswith("in_")}
            wanted = {name[4:]: held[name] for name in held.files if name.startswith("out_")}
        try:
            answer = stand.ask(path.with_suffix(".onnx"), [feed])[0]
        except EdgeError as error:
            refused.append(f"{path.stem}: {str(error).rsplit(': ', 1)[-1]}")
            continue
        right += all(np.allclose(wanted[name], answer[name], rtol=1e-3, atol=1e-5, equal_nan=True) for name in wanted)
    return Refused("; ".join(refused), right, len(refused)) if refused else right


def _digits(stand: Stand, folder: Path, name: str) -> float:
    from PIL import Image

    x = np.stack([np.asarray(Image.open(folder / f"sample{k}.png"), np.float32).ravel() / 255 for k in range(10)])
    lines = stand.stream(folder / f"{name}.tflite", x, Around(postprocess=(Step("argmax"),)))
    return float(sum(line["label"] == str(k) for k, line in enumerate(lines)))


def _refusal(stand: Stand, model: Path) -> str:
    """What the engine says of a model that it cannot load."""
    one = (TensorSpec("x", "float32", (1,)),)
    try:
        with stand.served(model, specs=(one, one)):
            return ""
    except EdgeError as error:
        return str(error)


def operators(stand: Stand, folder: Path) -> Figures:
    with tempfile.TemporaryDirectory(prefix="edge-operators-") as name:
        with zipfile.ZipFile(folder / "seanet_int16.zip") as packed:
            packed.extractall(name)
        exact = [_exact(stand, model) for model in sorted(Path(name).glob("*/*.tflite"))]
    return {"single-op int16 models": len(exact), "bit-exact with the golden output": sum(exact)}


def _exact(stand: Stand, model: Path) -> bool:
    files = sorted(model.parent.glob(f"{model.stem}_input*_*.csv"))
    feed = {spec.name: _numbers(file, spec) for spec, file in zip(asked(model)[0], files, strict=False)}
    answer = stand.ask(model, [feed])[0]
    golden = next(model.parent.glob(f"{model.stem}_golden_*.csv"))
    return bool(np.array_equal(next(iter(answer.values())).ravel(), np.array(list(_values(golden)))))


def _numbers(file: Path, spec: TensorSpec) -> Any:
    return np.array(list(_values(file)), spec.dtype).reshape([size or 1 for size in spec.shape])


def _values(file: Path) -> Iterator[int]:
    return (int(word) for word in file.read_text().replace("\n", ",").split(",") if word.strip())


CASES = (
    Case("07_tabular_sklearn", tables, apart=("wine: second output is a list of dicts str->float",)),
    Case("11_audio_basicpitch_two_formats", notes, quick=False),
    Case("12_awkward_models", awkward),
    Case("13_tflite_int16_op_golden", operators, quick=False),
)
