"""scikit-learn to ONNX, inside scikit-learn's own environment: ``model.bin`` in, ``model.onnx`` (x to scores) and reference answers out.

Opening a pickle runs the code in it: whoever calls this has asked for that. A skops file is opened with known types only, unless trusted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converters.tools.scripts.sklearn_outputs import Refused, scores_only

OPSET = {"": 17, "ai.onnx.ml": 3}
RANDOM = 256
CANDIDATES = ("model.onnx", "turned.onnx")


def main(folder: Path, job: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    import sklearn

    warnings.simplefilter("ignore")
    tell(f"scikit-learn {sklearn.__version__}: reading the model")
    model = _load(folder / "model.bin", str(job["form"]), trust=bool(job["trust"]))
    _check(model)
    _by_number(model)
    tell("translating to ONNX")
    width = int(model.n_features_in_)
    classes = _classes(model)
    border = len(classes) == 2 and not _has(model, "predict_proba") and _has(model, "decision_function")
    signs = (1.0, -1.0) if border else (0.0,)  # exporters differ in which side they call positive; the comparison will tell
    translated = _translated(model, width)
    protos = [scores_only(translated, len(classes), sign) for sign in signs]
    for name, proto in zip(CANDIDATES, protos, strict=False):
        (folder / name).write_bytes(proto.SerializeToString(deterministic=True))
    tell("asking scikit-learn for reference answers")
    rows = _rows(model, width, int(job["seed"]), folder / "given.npz")
    np.savez(folder / "feeds.npz", x=rows[:, None, :])
    np.savez(folder / "expected.npz", **_answers(model, rows, classes, _output_width(protos[0])))
    return {
        "framework": f"scikit-learn {sklearn.__version__}",
        "version": sklearn.__version__,
        "model": type(model).__name__,
        "files": list(CANDIDATES[: len(protos)]),
        "rows": len(rows),
        "classes": [str(name) for name in classes],
        "features": [str(name) for name in getattr(model, "feature_names_in_", ())],
        "width": width,
    }


def _load(path: Path, form: str, *, trust: bool) -> Any:
    if form == "skops":
        import skops.io

        unknown = skops.io.get_untrusted_types(file=path)
        if unknown and not trust:
            raise Refused(f"holds types that are not known to be harmless: {', '.join(sorted(unknown)[:8])}; --trust allows them")
        return skops.io.load(path, trusted=unknown)
    import joblib

    try:
        return joblib.load(path)
    except (ImportError, AttributeError) as error:
        raise Refused(f"needs code that is not in the tool environment ({error}); save it as ONNX where that code is") from None


def _check(model: Any) -> None:
    kind = f"{type(model).__module__}.{type(model).__name__}"
    if not hasattr(model, "predict") and not hasattr(model, "transform"):
        raise Refused(f"holds a {kind}; a fitted scikit-learn model or pipeline was expected")
    if not hasattr(model, "n_features_in_"):
        raise Refused(f"holds a {kind} that is not fitted, or does not say how many features it takes")
    for part in _parts(model):
        for known in getattr(part, "categories_", ()):
            if np.asarray(known).dtype.kind in "OUS":
                raise Refused(
                    f"its {type(part).__name__} takes text ({', '.join(str(v) for v in list(known)[:4])}); a device feeds numbers only: "
                    "train it on numbered categories (OrdinalEncoder outside the model)"
                )


def _parts(model: Any, depth: int = 0) -> Iterator[Any]:
    """A model and all estimators within."""
    yield model
    inner: list[Any] = [value for _, value in getattr(model, "steps", ())]
    inner += [entry[1] for entry in getattr(model, "transformers_", getattr(model, "transformer_list", ()))]
    inner += [getattr(model, name) for name in ("best_estimator_", "estimator_", "regressor_", "transformer_") if hasattr(model, name)]
    for value in inner:
        if depth < 20 and hasattr(value, "get_params"):
            yield from _parts(value, depth + 1)


def _by_number(model: Any) -> None:
    """Columns chosen by name are chosen by place instead: the device sends one row of numbers."""
    for part in _parts(model):
        if hasattr(part, "flatten_transform"):
            part.flatten_transform = False  # says how votes are laid out where nobody asks for them
        names = list(getattr(part, "feature_names_in_", ()))
        if not names or not hasattr(part, "transformers_"):
            continue
        part.transformers_ = [(name, step, _places(columns, names)) for name, step, columns in part.transformers_]
        part._transformer_to_input_indices = {name: columns for name, _, columns in part.transformers_}


def _places(columns: Any, names: list[str]) -> Any:
    if isinstance(columns, str):
        return [names.index(columns)]
    if isinstance(columns, slice) or callable(columns):
        return columns
    return [names.index(column) if isinstance(column, str) else int(column) for column in columns]


def _classes(model: Any) -> list[Any]:
    if not hasattr(model, "predict") or not hasattr(model, "classes_"):
        return []
    classes = list(model.classes_)
    if classes and isinstance(classes[0], np.ndarray):
        raise Refused("answers several questions at once (multi-output classification), which a bundle cannot say")
    return classes


def _translated(model: Any, width: int) -> Any:
    import onnx
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    _whole_flags(onnx.helper)
    options = {id(model): {"zipmap": False}} if hasattr(model, "classes_") and hasattr(model, "predict") else None
    opset = {"": min(OPSET[""], onnx.defs.onnx_opset_version()), "ai.onnx.ml": OPSET["ai.onnx.ml"]}
    initial = [("x", FloatTensorType([None, width]))]
    try:
        try:
            return skl2onnx.to_onnx(model, initial_types=initial, options=options, target_opset=opset, name="classic")
        except NameError:  # this kind of classifier knows no such option
            return skl2onnx.to_onnx(model, initial_types=initial, target_opset=opset, name="classic")
    except (NotImplementedError, RuntimeError, ValueError, TypeError, NameError, AssertionError) as error:
        said = " ".join(str(error).split())[:300]
        raise Refused(f"skl2onnx {skl2onnx.__version__} cannot translate {type(model).__name__} ({said})") from None


def _whole_flags(helper: Any) -> None:
    """skl2onnx gives truth values where ONNX has whole numbers, which protobuf has stopped to accept (histogram-based boosting)."""
    make = helper.make_attribute

    def made(key: str, value: Any, *more: Any, **named: Any) -> Any:
        if isinstance(value, (bool, np.bool_)):
            value = int(value)
        elif isinstance(value, (list, tuple, np.ndarray)) and any(isinstance(item, (bool, np.bool_)) for item in value):
            value = [int(item) for item in value]
        return make(key, value, *more, **named)

    helper.make_attribute = made


def _rows(model: Any, width: int, seed: int, given: Path) -> Any:
    """Random rows around what a scaler in the model has seen, and the user's own where they fit."""
    draw = np.random.default_rng(seed)
    centre, spread = np.zeros(width), np.ones(width)
    for part in _parts(model):
        mean, scale = np.asarray(getattr(part, "mean_", 0.0)), np.asarray(getattr(part, "scale_", 0.0))
        if mean.shape == scale.shape == (width,):
            centre, spread = mean, scale
            break
    made = [(centre + spread * draw.standard_normal((RANDOM, width))).astype(np.float32)]
    for column, values in _categories(model, width):
        made[0][:, column] = draw.choice(np.asarray(values, np.float32), RANDOM)
    if given.is_file():
        with np.load(given, allow_pickle=False) as held:
            made += [held[name].reshape(len(held[name]), -1) for name in held.files if held[name].size == len(held[name]) * width]
    return np.concatenate([rows.astype(np.float32) for rows in made])


def _categories(model: Any, width: int) -> Iterator[tuple[int, Any]]:
    """Columns that hold one of few numbers, and those numbers."""
    for part in _parts(model):
        if getattr(part, "n_features_in_", None) != width:
            continue
        known = list(getattr(part, "categories_", ()))
        yield from enumerate(known)
        for _, step, columns in getattr(part, "transformers_", ()):
            known = list(getattr(step, "categories_", ()))
            if known and len(known) == np.size(columns) and not isinstance(columns, slice):
                yield from zip((int(column) for column in columns), known, strict=True)


def _output_width(proto: Any) -> int:
    return int(proto.graph.output[0].type.tensor_type.shape.dim[-1].dim_value)


def _answers(model: Any, rows: Any, classes: list[Any], width: int) -> dict[str, Any]:
    """``labels`` as places among the classes, and ``scores`` where the model gives numbers of the same kind as the translation."""
    if not classes:
        given = [_asked(model, ask, rows) for ask in ("decision_function", "predict", "transform") if _has(model, ask)]
        return {"scores": next((scores for scores in given if scores.shape == (len(rows), width)), given[0])}
    place = {name: i for i, name in enumerate(classes)}
    found: dict[str, Any] = {"labels": np.array([place[name] for name in model.predict(rows)])}
    ask = next((name for name in ("predict_proba", "decision_function") if _has(model, name)), "")
    if ask:
        scores = np.asarray(getattr(model, ask)(rows), np.float64)
        if scores.ndim == 1:
            scores = np.stack([-scores, scores], axis=1)
        if scores.shape == (len(rows), width):
            found["scores"] = scores
    return found


def _asked(model: Any, ask: str, rows: Any) -> Any:
    """A column for each number; some models take only the type of float that they were trained on."""
    try:
        made = getattr(model, ask)(rows)
    except ValueError:
        made = getattr(model, ask)(rows.astype(np.float64))
    return np.asarray(made, np.float64).reshape(len(rows), -1)


def _has(model: Any, name: str) -> bool:
    return callable(getattr(model, name, None))
