"""Keras files and SavedModel folders: what they hold is told before anything of it runs, and translations answer as the original."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from converters.errors import InputError
from converters.loaders.keras import check_archive, translate_keras
from converters.tools.environments import TOOLS, find
from converters.translate import TRANSLATORS, Asked

ROOT = Path(__file__).parents[2]
ASSETS = Path(os.environ.get("EDGE_ASSETS_DIR", ROOT.parent / "shared" / "assets"))
KERAS = find(TOOLS["keras"])
needs_keras = pytest.mark.skipif(KERAS is None, reason="tool environment keras is not made (edge-convert tools add keras)")
pytestmark = pytest.mark.timeout(600)  # importing a framework on a busy machine


def silent(text: str) -> None:
    pass


def archive(path: Path, config: Any) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config if isinstance(config, (str, bytes)) else json.dumps(config))
    return path


def layers(*inner: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": list(inner)}}


DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense", "units": 2}, "registered_name": None}
LAMBDA = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "tricky", "function": {"class_name": "__lambda__"}}}


def test_plain_layers_are_no_code(tmp_path: Path) -> None:
    check_archive(archive(tmp_path / "m.keras", layers(DENSE)), trust=False)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (LAMBDA, "Lambda layer tricky"),
        ({**DENSE, "class_name": "TorchModuleWrapper"}, "TorchModuleWrapper layer dense"),
        ({**DENSE, "class_name": "TFSMLayer"}, "TFSMLayer layer dense"),
        ({**DENSE, "config": {"name": "dense", "activation": {"class_name": "__lambda__", "config": {}}}}, "a?Lambda.*dense"),
        ({"class_name": "Wrapper", "config": {"name": "outer", "layer": LAMBDA}}, "Lambda layer tricky"),
    ],
)
def test_code_in_a_file_is_refused_by_the_layers_name_unless_trusted(tmp_path: Path, layer: dict[str, Any], said: str) -> None:
    path = archive(tmp_path / "m.keras", layers(DENSE, layer))
    with pytest.raises(InputError, match=rf"m\.keras: holds code.*{said}.*--trust"):
        check_archive(path, trust=False)
    check_archive(path, trust=True)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({**DENSE, "module": "os", "class_name": "system"}, r"os\.system in layer dense"),
        ({**DENSE, "module": "mine.layers", "class_name": "Special"}, r"mine\.layers\.Special in layer dense"),
        ({**DENSE, "registered_name": "mine>Special"}, "mine>Special in layer dense"),
        ({**DENSE, "module": "keras.utils", "class_name": "function", "config": "get_file"}, r"keras\.utils\.function"),
        (
            {**DENSE, "config": {"name": "d", "activation": {"module": "builtins", "class_name": "function", "config": "mine"}}},
            "function mine",
        ),
    ],
)
def test_names_from_elsewhere_are_refused_even_when_trusted(tmp_path: Path, layer: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=rf"needs code that is not in it.*{said}.*SavedModel"):
        check_archive(archive(tmp_path / "m.keras", layers(layer)), trust=True)


@pytest.mark.parametrize("config", ["", "{", '{"class_name": 1', "[" * 100_000, b"\xff\xfe", json.dumps([[[[]]]] * 3)[:-1]])
def test_damaged_configurations_are_refused(tmp_path: Path, config: str | bytes) -> None:
    with pytest.raises(InputError, match=r"m\.keras"):
        check_archive(archive(tmp_path / "m.keras", config), trust=False)


def test_what_is_no_keras_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    for content, said in ((b"", "no Keras model"), (b"PK\x03\x04 cut short", "no Keras model"), (b"some text", "no Keras model")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            translate_keras(Asked(str(path)), tmp_path, silent)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("other", "")
    path.write_bytes(held.getvalue())
    with pytest.raises(InputError, match=r"no config\.json"):
        translate_keras(Asked(str(path)), tmp_path, silent)
    with pytest.raises(InputError, match="no such file"):
        translate_keras(Asked(str(tmp_path / "absent.keras")), tmp_path, silent)


def test_a_missing_environment_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CONVERT_TOOLS", str(tmp_path / "none"))
    path = archive(tmp_path / "m.keras", layers(DENSE))
    with pytest.raises(InputError, match=r"m\.keras: needs the tool environment keras.*edge-convert tools add keras"):
        TRANSLATORS["keras"](Asked(str(path)), tmp_path, silent)


BUILD = """
import sys, json, h5py, keras, numpy as np
from keras import layers as L
keras.utils.set_random_seed(3)
def net(*extra):
    i = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(4, 3, padding="same", name="conv")(i)
    x = L.DepthwiseConv2D(3, strides=2, padding="same", name="depth")(L.ReLU(max_value=6.0)(L.BatchNormalization()(x)))
    for layer in extra: x = layer(x)
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(i, [L.Dense(3, activation="softmax", name="kind")(x), L.Dense(1, name="size")(x)])
m = net()
m.save("two.keras"); m.save("two.h5"); m.export("saved")
with h5py.File("two.h5", "r+") as f:  # as Keras 2 wrote it
    c = json.loads(f.attrs["model_config"])
    for layer in c["config"]["layers"]:
        if layer["class_name"] == "DepthwiseConv2D": layer["config"]["groups"] = 1
    f.attrs["model_config"] = json.dumps(c)
m.save_weights("only.weights.h5")
i = keras.Input((4,), name="a"); x = L.ReLU(name="sign")(L.Dense(3, name="d")(i)); m = keras.Model(i, L.Dense(2, name="e")(x))
for name, function in (("sign.h5", "__operators__.add"), ("call.h5", "math.multiply"), ("write.h5", "io.write_file")):
    m.save(name)
    with h5py.File(name, "r+") as f:  # arithmetic signs, as Keras 2 wrote them
        c = json.loads(f.attrs["model_config"])
        for layer in c["config"]["layers"]:
            if layer["name"] == "sign":
                layer.update(class_name="TFOpLambda", config={"name": "sign", "trainable": True, "dtype": "float32", "function": function})
                layer["inbound_nodes"] = [["d", 0, 0, {"y": 3.0, "name": None}]]
        f.attrs["model_config"] = json.dumps(c)
t = net(L.Lambda(lambda v: v * 2.0, name="twice")); t.save("code.h5"); t.save("code.keras")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([str(KERAS), "-I", "-c", BUILD], cwd=folder, env=quiet, check=True, capture_output=True)
    return folder


@needs_keras
@pytest.mark.parametrize("name", ["two.keras", "two.h5", "saved"])
def test_translations_keep_names_layout_and_answers(files: Path, name: str, tmp_path: Path) -> None:
    path = files / name
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file()}
    samples = tmp_path / "s.npz"
    np.savez(samples, image=np.random.default_rng(0).random((20, 8, 8, 3), np.float32))
    told: list[str] = []
    made = translate_keras(Asked(str(path), samples=samples), tmp_path, told.append)
    model = onnx.load(str(made.file))
    (image,) = model.graph.input
    assert image.name == "image" and [d.dim_value for d in image.type.tensor_type.shape.dim][1:] == [8, 8, 3]
    if name != "saved":
        assert [value.name for value in model.graph.output] == ["kind", "size"]
    assert model.opset_import[0].version == 17 and not model.graph.initializer[0].HasField("data_location")
    assert "on 16 inputs" in made.notes[0] and told
    assert before == {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in before}


@needs_keras
def test_the_same_file_gives_the_same_bytes(files: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first, second = (translate_keras(Asked(str(files / "two.h5")), folder, silent).file.read_bytes() for folder in folders)
    assert first == second


@needs_keras
def test_a_lambda_layer_needs_trust_and_is_translated_with_it(files: Path, tmp_path: Path) -> None:
    for name in ("code.h5", "code.keras"):
        work = tmp_path / name
        work.mkdir()
        with pytest.raises(InputError, match="Lambda layer twice"):
            translate_keras(Asked(str(files / name)), work, silent)
    work = tmp_path / "trusted"
    work.mkdir()
    assert translate_keras(Asked(str(files / "code.keras"), trust=True), work, silent).file.is_file()


@needs_keras
def test_arithmetic_signs_of_keras_2_are_read_and_other_calls_are_not(files: Path, tmp_path: Path) -> None:
    for name, operator in (("sign.h5", "Add"), ("call.h5", "Mul")):
        (tmp_path / name).mkdir()
        made = onnx.load(str(translate_keras(Asked(str(files / name)), tmp_path / name, silent).file))
        assert operator in [node.op_type for node in made.graph.node]
    with pytest.raises(InputError, match=r"calls tf\.io\.write_file"):
        translate_keras(Asked(str(files / "write.h5")), tmp_path, silent)


@needs_keras
def test_weights_without_a_network_are_refused(files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds weights only"):
        translate_keras(Asked(str(files / "only.weights.h5")), tmp_path, silent)


@needs_keras
@pytest.mark.parametrize(
    "name",
    [
        "01_image_cifar10_resnet8/resnet8.h5",
        "02_keyword_dscnn/saved_model",
        "04_anomaly_toycar_autoencoder/ad01.h5",
        "05_vibration_cwru_autoencoder/cwru_ae.keras",
        "06_har_exercise_cnn/har_exercise_cnn.keras",
    ],
)
def test_published_models_answer_as_in_their_framework(name: str, tmp_path: Path) -> None:
    if not (ASSETS / name).exists():
        pytest.skip(f"{name} is not at hand (EDGE_ASSETS_DIR)")
    made = translate_keras(Asked(str(ASSETS / name)), tmp_path, silent)
    assert "agrees within" in made.notes[0] and made.bytes > 0
