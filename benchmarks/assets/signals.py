"""Assets whose figure is a number of each window: errors of reconstruction, and speech from a model with state."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.assets.bundles import Around
from benchmarks.assets.case import Case, Figures, scores
from benchmarks.assets.stand import Stand
from edge_agent.bundle.manifest import StatePair, StateSpec, Step

_CHUNK, _BEFORE = 512, 64


def toy_car(stand: Stand, folder: Path) -> Figures:
    frames = np.fromfile(folder / "normal_id_01_00000000_hist_librosa.bin", "<f4").reshape(-1, 128)
    around = Around(postprocess=(Step("reconstruction_error", {"of": "window"}),))

    def error(model: str) -> float:
        return float(scores(stand.stream(folder / model, frames, around, length=5)).mean())

    return {
        "fp32 tflite anomaly score; published 9.70711": error("ad01_fp32.tflite"),
        "int8 tflite anomaly score; published (int8 inside) 10.26029": error("ad01_int8.tflite"),
        "onnx from ad01.h5; published keras score 9.49129": error("ad01_from_h5.onnx"),
    }


def bearing(stand: Stand, folder: Path) -> Figures:
    """The spectrum is made here: its bands are averages over lines, for which preprocessing has no word."""
    with np.load(folder / "test_frames.npz") as held:
        bands, fault = _bands(held["frames"].astype(np.float64)), held["y"] == 1
        mean, spread, limit = held["mu"], held["sd"], float(held["thr"])
    kinds = ("f32", "f16", "int8", "int8_calibrated_on_normal_only")
    models = {kind: f"cwru_ae_{kind}.tflite" for kind in kinds} | {"onnx": "cwru_ae.onnx"}
    steps = (Step("normalize", {"mean": np.ravel(mean).tolist(), "std": np.ravel(spread).tolist()}),)
    found: dict[str, float] = {"frames (112 normal, 240 fault)": len(fault)}
    for kind, model in models.items():
        # The error is taken to what the model is given before it is quantized, as the check does.
        output = scores(stand.stream(folder / model, bands, Around(preprocess=steps)))
        error = ((output - (bands - mean) / spread) ** 2).mean(axis=1)
        said = kind[:20]
        found[f"{said} AUC normal vs fault"] = _auc(fault, error)
        found[f"{said} false alarms at the stored threshold"] = (error[~fault] > limit).mean()
        found[f"{said} missed faults"] = (error[fault] <= limit).mean()
        if kind == "f32":
            found["mean normal score f32"] = error[~fault].mean()
        if kind == "int8":
            found["mean normal score int8 (int8 blurs the small residual)"] = error[~fault].mean()
    return found


def _bands(frames: Any) -> Any:
    frames = frames - frames.mean(axis=1, keepdims=True)
    frames /= frames.std(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]), axis=1))[:, 1:513] ** 2
    return np.log10(power.reshape(len(frames), 64, 8).mean(axis=2) + 1e-6)


def _auc(positive: Any, score: Any) -> float:
    """The share of pairs of one fault and one normal frame in which the fault scores higher; ties count half."""
    above, below = score[positive][:, None], score[~positive][None]
    return float(((above > below) + 0.5 * (above == below)).mean())


def speech(stand: Stand, folder: Path) -> Figures:
    """The sound as a microphone gives it, sample by sample; windows of 576 every 512, state from one to the next."""
    sound = _sound(folder / "speech_20s.wav")
    one = spoken(stand, folder / "silero_vad_16k_op15.onnx", sound, ("state", "stateN"))
    other = spoken(stand, folder / "silero_vad_openvino_16k.onnx", sound, ("state", "stateN"))
    third = spoken(stand, folder / "silero_vad_16k_sequence.onnx", sound, ("h", "hn"), ("c", "cn"))
    return {
        "chunks of 512 samples": len(one),
        "share of speech (p>0.5)": (one > 0.5).mean(),
        "mean p": one.mean(),
        "max difference between the two graphs": np.abs(one - other).max(),
        "whole-sequence model: max difference from step-by-step": np.abs(one - third).max(),
    }


def spoken(stand: Stand, model: Path, sound: Any, *pairs: tuple[str, str]) -> Any:
    """The probability of speech in each chunk."""
    state = StateSpec(tuple(StatePair(*pair) for pair in pairs))
    rate = (Step("constant", {"input": "sr", "value": 16000}),) if "op15" in model.name else ()
    sizes = {"input": (1, _CHUNK + _BEFORE), "output": (1, 1), "speech_probs": (1,), "state": (2, 1, 128), "stateN": (2, 1, 128)}
    around = Around(preprocess=rate, state=state, sizes=sizes)
    return scores(stand.stream(model, sound, around, length=_CHUNK + _BEFORE, hop=_CHUNK))[:, 0]


def _sound(path: Path) -> Any:
    """(samples, 1), with the silence before it that the first chunk looks back on."""
    with wave.open(str(path)) as file:
        values = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    return np.concatenate([np.zeros(_BEFORE, np.float32), values])[:, None]


_RECOMPUTED = tuple(
    f"mean AUC recomputed from the published {name}" for name in ("anomaly_score", "tflite_anomaly_score", "tflite_quant_fullint_micro_a")
)

CASES = (
    Case("04_anomaly_toycar_autoencoder", toy_car, apart=_RECOMPUTED),
    Case("05_vibration_cwru_autoencoder", bearing),
    Case("10_vad_silero_stateful", speech, apart=("share of speech if the state is WRONGLY not carried",)),
)
