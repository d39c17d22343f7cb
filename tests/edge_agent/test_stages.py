"""Models that do not fit one after the other are told of by key, and those that do are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from models import tiny_bundle

from edge_agent.__main__ import main
from edge_agent.bundle.manifest import FileEntry, Manifest, RuntimeRequirement, Step
from edge_agent.config import PipelineConfig, SourceConfig, StageConfig
from edge_agent.stages import stage_problems
from edge_agent.values import TensorSpec


def manifest(name: str, takes: int | None, gives: int, *, post: tuple[str, ...] = ("argmax",), labels: tuple[str, ...] = ()) -> Manifest:
    return Manifest(
        name=name,
        version="1",
        runtime=RuntimeRequirement("onnx"),
        files=(FileEntry("model.onnx", "model", 1, "0" * 64),),
        inputs=(TensorSpec("x", "float32", (1, takes)),),
        outputs=(TensorSpec("y", "float32", (1, gives)),),
        postprocess=tuple(Step(op) for op in post),
        labels=labels,
    )


MODELS = {
    "first": manifest("first", 4, 3, labels=("low", "middle", "high")),
    "fits": manifest("fits", 3, 2),
    "misfit": manifest("misfit", 5, 2),
    "free": manifest("free", None, 2),
    "finder": manifest("finder", 48, 8, post=("boxes",), labels=("face",)),
}


def found(model: str, *then: StageConfig) -> dict[str, str]:
    return dict(stage_problems(PipelineConfig("p", model, SourceConfig("synthetic"), (), then=then), MODELS))


@pytest.mark.parametrize(
    ("model", "then"),
    [
        ("first", StageConfig("fits")),
        ("first", StageConfig("free")),
        ("first", StageConfig("misfit", "window")),
        ("first", StageConfig("fits", when=("low", "high"))),
        ("fits", StageConfig("free", when=("1",))),
        ("finder", StageConfig("fits", "box", ("face",))),
        ("unknown", StageConfig("fits", "box", ("face",))),
    ],
)
def test_what_fits_is_no_problem(model: str, then: StageConfig) -> None:
    assert found(model, then) == {}


@pytest.mark.parametrize(
    ("model", "then", "key", "what"),
    [
        ("first", StageConfig("misfit"), "then[0].feed", "3 scores of model first, and model misfit needs 5"),
        ("first", StageConfig("fits", "box"), "then[0].feed", "finds no boxes"),
        ("finder", StageConfig("fits"), "then[0].feed", '"output" is empty'),
        ("first", StageConfig("fits", when=("low", "lo")), "then[0].when", "'lo' is no label of model first (low, middle, high)"),
        ("fits", StageConfig("free", when=("a",)), "then[0].when", "they are numbers"),
    ],
)
def test_what_does_not_fit_is_named_by_key(model: str, then: StageConfig, key: str, what: str) -> None:
    assert what in found(model, then)[key]


def test_boxes_go_on_to_a_third_model(tmp_path: Path) -> None:
    assert found("finder", StageConfig("fits", "box"), StageConfig("free", "box")) == {}
    assert list(found("first", StageConfig("fits"), StageConfig("free", "box"))) == ["then[1].feed"]


def test_check_looks_at_stages_and_at_what_sinks_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        tiny_bundle(tmp_path / f"{name}.edgemodel", name=name)
    (tmp_path / "agent.toml").write_text(
        '[device]\nid = "d1"\nprofile = "rpi4"\nstate_dir = "state"\nruntime_dir = "run"\n'
        '[[models]]\nname = "one"\nbundle = "one.edgemodel"\n[[models]]\nname = "two"\nbundle = "two.edgemodel"\n'
        '[[pipelines]]\nname = "line"\nmodel = "one"\n[[pipelines.then]]\nmodel = "two"\nwhen = ["lo"]\n'
        '[pipelines.source]\nkind = "synthetic"\nchannels = 4\n'
        '[[pipelines.sinks]]\nkind = "exec"\ncommand = ["/no/such/program"]\n'
        '[[pipelines.sinks]]\nkind = "webhook"\nurl = "https://plant.example/"\ntoken_file = "none"\ntls_ca = "no-ca"\n'
    )
    assert main(["check", "--config", str(tmp_path / "agent.toml"), "--json"]) == 2
    where = [problem["where"] for problem in json.loads(capsys.readouterr().out)["problems"]]
    sinks = ["pipelines[0].sinks[0].command", "pipelines[0].sinks[1].token_file", "pipelines[0].sinks[1].tls_ca"]
    assert where == [*sinks, "pipelines[0].then[0].feed", "pipelines[0].then[0].when"]
    assert not (tmp_path / "state").exists()
