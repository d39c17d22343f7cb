"""The Open Inference Protocol over REST."""

from __future__ import annotations

from front_rig import FrontRig, infer_json


def test_json_in_json_out(served: FrontRig) -> None:
    answer = served.infer([1, 2, 3, 4])
    assert answer.status == 200
    assert answer.json == {
        "model_name": "tiny",
        "model_version": "1.0.0",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [10.0, 0.0, 0.0]}],
    }


def test_the_id_comes_back(served: FrontRig) -> None:
    for identity in ("7", 'with "quotes"', "naïve", "back\\slash"):
        answer = served.ask("POST", "/v2/models/tiny/infer", {"id": identity, **infer_json([1, 2, 3, 4])})
        assert answer.json["id"] == identity
