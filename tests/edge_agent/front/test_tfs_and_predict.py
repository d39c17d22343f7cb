"""TensorFlow Serving's REST API, /predict for people, and the page at /."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from echo_model import echo_bundle
from front_rig import FrontRig

from benchmarks.tiny_model import TinyBundle, linear_graph, make_bundle
from edge_agent.bundle.manifest import Step

ROW = [1, 2, 3, 4]
SCORES = [10.0, 0.0, 0.0]


@pytest.fixture
def two(rig: FrontRig, tmp_path: Path) -> FrontRig:
    """A model with two inputs and two outputs."""
    rig.serve(echo_bundle(tmp_path / "two", "two", ["n", 2], ["n"], version="7"))
    return rig


def test_status_and_metadata(two: FrontRig) -> None:
    entry = {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/two", "/v1/models/two/versions/7", "/v1/models/two/labels/stable"):
        assert two.ask("GET", path).json == {"model_version_status": [entry]}
    signature = two.ask("GET", "/v1/models/two/metadata").json["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["a"]["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}, {"size": "2", "name": ""}]
    assert signature["outputs"]["out_b"]["dtype"] == "DT_FLOAT"
    assert two.ask("GET", "/v1/models/two/versions/8").status == 404


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({"instances": [ROW]}, {"predictions": [SCORES]}),
        ({"instances": [{"x": ROW}]}, {"predictions": [SCORES]}),
        ({"signature_name": "serving_default", "inputs": [ROW]}, {"outputs": [SCORES]}),
        ({"inputs": {"x": [ROW]}}, {"outputs": [SCORES]}),
    ],
)
def test_predict_by_row_and_by_column(standing: FrontRig, asked: dict[str, Any], answered: dict[str, Any]) -> None:
    for path in ("/v1/models/tiny:predict", "/v1/models/tiny/versions/1.0.0:predict", "/v1/models/tiny/labels/any:predict"):
        answer = standing.ask("POST", path, asked)
        assert (answer.status, answer.json) == (200, answered)


def test_several_inputs_and_outputs(two: FrontRig) -> None:
    rows = [{"a": [1, 2], "b": 3}, {"a": [4, 5], "b": 6}]
    named = [{"out_a": [1, 2], "out_b": 3}, {"out_a": [4, 5], "out_b": 6}]
    assert two.ask("POST", "/v1/models/two:predict", {"instances": rows}).json == {"predictions": named}
    columns = {"a": [[1, 2], [4, 5]], "b": [3, 6]}
    expected = {"outputs": {"out_a": [[1, 2], [4, 5]], "out_b": [3, 6]}}
    assert two.ask("POST", "/v1/models/two:predict", {"inputs": columns}).json == expected


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("/v1/models/none:predict", {"instances": [ROW]}, 404),
        ("/v1/models/tiny:classify", {"examples": []}, 400),
        ("/v1/models/tiny:predict", {}, 400),
        ("/v1/models/tiny:predict", {"instances": [ROW], "inputs": [ROW]}, 400),
        ("/v1/models/tiny:predict", {"instances": []}, 400),
        ("/v1/models/tiny:predict", {"instances": [ROW, ROW]}, 400),
        ("/v1/models/tiny:predict", {"instances": [[1, 2]]}, 400),
        ("/v1/models/tiny:predict", {"instances": [{"y": ROW}]}, 400),
        ("/v1/models/tiny:predict", {"instances": [{"x": ROW, "z": 1}]}, 400),
        ("/v1/models/tiny:predict", {"instances": [{"x": ROW}, 3]}, 400),
        ("/v1/models/tiny:predict", {"instances": [{"x": ROW}, {}]}, 400),
        ("/v1/models/tiny:predict", {"inputs": {"b64": "AAAA"}}, 400),
        ("/v1/models/tiny:predict", {"instances": [{"x": {"b64": "AAAA"}}]}, 400),
        ("/v1/models/tiny:predict", {"signature_name": "other", "instances": [ROW]}, 400),
    ],
    ids=str,
)
def test_mistakes_are_answered_with_an_error(standing: FrontRig, path: str, asked: dict[str, Any], status: int) -> None:
    answer = standing.ask("POST", path, asked)
    assert answer.status == status
    assert answer.json["error"]


@pytest.mark.parametrize(
    "body", [b"[1,2,3,4]", b"[[1,2,3,4]]", b'{"values":[1,2,3,4]}', b"1, 2, 3, 4\n", b"1 2 3 4", b"1;2;3;4", b"\xef\xbb\xbf[1,2,3,4]"]
)
def test_predict_takes_what_a_person_types(standing: FrontRig, body: bytes) -> None:
    for path in ("/predict/tiny", "/predict"):
        answer = standing.ask("POST", path, body)
        assert answer.status == 200, answer.body
        assert answer.json == {
            "model": "tiny",
            "version": "1.0.0",
            "label": "a",
            "score": 10.0,
            "scores": SCORES,
            "by_label": {"a": 10.0, "b": 0.0, "c": 0.0},
        }


def test_predict_goes_through_the_models_steps(rig: FrontRig, tmp_path: Path) -> None:
    rig.serve(make_bundle(tmp_path / "scaled", preprocess=(Step("scale", {"factor": 0.5}),)))
    assert rig.ask("POST", "/predict/tiny", b"[1,2,3,4]").json["scores"] == [5.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"abc", b"[1,2", b"[[1,2],[3]]", b'["1"]', b'{"data":[1]}', b"[1,2,3]", b"1,2\n3", b"\xff\xfe"),
        *(b"[null,1,2,3]", b'[1,"2",3,4]', b'{"values":null}', b"[1,{},3,4]"),
    ],
)
def test_predict_says_what_is_wrong(standing: FrontRig, body: bytes) -> None:
    answer = standing.ask("POST", "/predict/tiny", body)
    assert answer.status == 400
    assert answer.json["error"]


def test_predict_without_a_name_where_there_are_several(make_rig: Callable[..., FrontRig], bundle: TinyBundle, tmp_path: Path) -> None:
    rig = make_rig(predict="")
    rig.serve(bundle)
    rig.serve(echo_bundle(tmp_path / "echo", "echo", [1]))
    answer = rig.ask("POST", "/predict", b"[1,2,3,4]")
    assert answer.status == 404 and "tiny" in answer.json["error"]


def test_the_page_at_the_root(standing: FrontRig) -> None:
    tree = standing.ask("GET", "/").json
    assert tree["models"][0]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 4]}]
    page = standing.ask("GET", "/", b"", {"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert b"curl http://test/v2/models/tiny/infer" in page.body
    line = shlex.split(html.unescape(page.body.decode().split("<pre>")[1].split("</pre>")[0]))
    assert standing.ask("POST", line[1].removeprefix("http://test"), line[3].encode()).status == 200


def test_the_line_to_paste_is_data_whatever_a_tensor_is_called(rig: FrontRig, tmp_path: Path) -> None:
    evil = "x'; touch pwned; '<b>"
    graph = linear_graph()
    graph.graph.input[0].name = graph.graph.node[0].input[0] = evil
    bundle = make_bundle(tmp_path / "evil", graph=graph)
    manifest = replace(bundle.manifest, golden=(), inputs=(replace(bundle.manifest.inputs[0], name=evil),))
    rig.wait_message("linked", link=rig.inline(TinyBundle(manifest, bundle.folder, bundle.digest)))
    page = rig.ask("GET", "/", b"", {"Accept": "text/html"}).body.decode()
    words = shlex.split(html.unescape(page.split("<pre>")[1].split("</pre>")[0]))
    assert len(words) == 4 and json.loads(words[3])["inputs"][0]["name"] == evil
    assert "<b>" not in page


def test_metrics_are_prometheus_text(served: FrontRig) -> None:
    assert served.ask("POST", "/predict", b"[1,2,3,4]").status == 200
    answer = served.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    assert 'edge_api_requests_total{model="tiny",outcome="answered"} 1' in lines
    assert 'edge_api_request_seconds_count{model="tiny"} 1' in lines
    for word in ("arrival_rate", "service_rate", "workers", "utilisation"):
        assert any(line.startswith(f'edge_api_{word}{{model="tiny"}}') for line in lines)
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert all(
        line.split("{")[0].split()[0].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") in typed
        for line in lines
        if line[0] != "#"
    )
