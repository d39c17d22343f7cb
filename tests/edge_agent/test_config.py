"""What a configuration file may say, and how it is told off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.__main__ import main
from edge_agent.config_file import load_config
from edge_agent.config_reader import parse
from edge_agent.errors import ConfigError

GOOD = """
[device]
id = "press-1"
profile = "rpi4"
state_dir = "state"
labels = { site = "hall-2" }

[mqtt]
host = "127.0.0.1"

[[models]]
name = "digits"

[[pipelines]]
name = "camera"
model = "digits"
[pipelines.source]
kind = "replay"
path = "data.npz"
rate_hz = 10
[[pipelines.sinks]]
kind = "jsonl"
path = "out.jsonl"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text))
    return {p.where: p.what for p in caught.value.problems}


def test_a_good_file_is_read_with_paths_relative_to_it(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD))
    assert config.device.id == "press-1"
    assert config.device.state_dir == tmp_path / "state"
    assert config.pipelines[0].source.options["path"] == str(tmp_path / "data.npz")
    assert config.pipelines[0].queue == 1024


def test_every_problem_is_named_by_key_at_once(tmp_path: Path) -> None:
    text = GOOD.replace('id = "press-1"', 'id = "press 1/+"').replace('host = "127.0.0.1"', "prot = 1883\nport = 99999")
    found = problems(tmp_path, text)
    assert "device.id" in found
    assert "mqtt.port" in found
    assert "did you mean 'port'" in found["mqtt.prot"]


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('model = "digits"', 'model = "digit"', "pipelines[0].model"),
        ('kind = "replay"', 'kind = "reply"', "pipelines[0].source.kind"),
        ('[[pipelines.sinks]]\nkind = "jsonl"\npath = "out.jsonl"', "", "pipelines[0].sinks"),
        ("rate_hz = 10", 'rate_hz = "fast"', "pipelines[0].source.rate_hz"),
        ("rate_hz = 10", "rate_herz = 10", "pipelines[0].source.rate_herz"),
        ('[[models]]\nname = "digits"', '[models]\nname = "digits"', "models"),
        ('host = "127.0.0.1"', 'host = "h"\nusername = "u"', "mqtt.username"),
        ('host = "127.0.0.1"', 'host = "h"\nprefix = "a/#"', "mqtt.prefix"),
        ('[[models]]\nname = "digits"', '[[models]]\nname = "digits"\n[[models]]\nname = "digits"', "models[1].name"),
        ("[mqtt]", "[updates]\nrepository = 'http://x'\n[mqtt]", "updates.trusted_root"),
        ("[mqtt]", "[updates]\nrepository = 'ftp://x'\ntrusted_root = 'r'\n[mqtt]", "updates.repository"),
        ("[mqtt]", "[telemetry]\ninterval_s = 0\n[mqtt]", "telemetry.interval_s"),
        ("[mqtt]", "[engine]\ndeadline_ms = -1\n[mqtt]", "engine.deadline_ms"),
        ("[device]", "[devise]", "device"),
        ("[mqtt]", "[engine]\nswap = 'sideways'\n[mqtt]", "engine.swap"),
        ("[mqtt]", "[engine]\ntune = 1\n[mqtt]", "engine.tune"),
        ("[mqtt]", "[api]\nlisten = ['0.0.0.0:80']\n[mqtt]", "api.listen[0]"),
        ("[mqtt]", "[api]\nlisten = ['127.0.0.1']\n[mqtt]", "api.listen[0]"),
        ("[mqtt]", "[api]\nlisten = ['127.0.0.1:8500']\n[mqtt]", "api.token_file"),
        ("[mqtt]", "[api]\ngrpc = 'localhost:8501'\n[mqtt]", "api.token_file"),
        ("[mqtt]", "[api]\nlisten = 'unix'\n[mqtt]", "api.listen"),
        ('[[models]]\nname = "digits"', '[[models]]\nname = "digits"\nlane = "fast"', "models[0].lane"),
        ('[[models]]\nname = "digits"', '[[models]]\nname = "digits"\nlane = "inline"\nworkers = 2', "models[0].workers"),
        ('model = "digits"', 'model = "digits"\npolicy = "newest"', "pipelines[0].policy"),
        ('model = "digits"', 'model = "digits"\nhop_s = 1', "pipelines[0].hop_s"),
        ('model = "digits"', 'model = "digits"\nlength_s = 1\nhop_s = 1', "pipelines[0].length"),
        ('model = "digits"', 'model = "digits"\n[[pipelines.then]]\nmodel = "other"', "pipelines[0].then[0].model"),
        ('model = "digits"', 'model = "digits"\n[[pipelines.then]]\nmodel = "digits"', "pipelines[0].then"),
        ('model = "digits"', 'model = "digits"\n[[pipelines.then]]\nmodel = "digits"\nfeed = "x"', "pipelines[0].then[0].feed"),
        ('path = "out.jsonl"', 'path = "state/commands.json"', "pipelines[0].sinks[0].path"),
        ('path = "out.jsonl"', 'path = "state/../state/store/x.jsonl"', "pipelines[0].sinks[0].path"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, old: str, new: str, where: str) -> None:
    assert old in GOOD
    assert where in problems(tmp_path, GOOD.replace(old, new, 1))


def test_predictions_may_lie_beside_the_agents_own_files(tmp_path: Path) -> None:
    load_config(written(tmp_path, GOOD.replace('path = "out.jsonl"', 'path = "state/out.jsonl"')))


def test_a_pipeline_with_mqtt_needs_a_broker(tmp_path: Path) -> None:
    text = GOOD.replace('host = "127.0.0.1"', "").replace('kind = "jsonl"\npath = "out.jsonl"', 'kind = "mqtt"')
    assert "mqtt.host" in problems(tmp_path, text)


def test_not_toml_and_not_there_name_the_file(tmp_path: Path) -> None:
    assert "is not TOML" in next(iter(problems(tmp_path, "[device").values()))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.toml")


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["device", "pipelines", "id", "name", "kind", "source", "sinks", "path", "model", "host", "port"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(
        st.sampled_from(["device", "mqtt", "updates", "telemetry", "engine", "models", "pipelines", "odd"]), json_trees, max_size=6
    )
)
def test_any_tree_is_either_a_configuration_or_a_list_of_problems(tree: dict[str, object]) -> None:
    try:
        parse(tree, base=Path("/base"))
    except ConfigError as error:
        assert error.problems
        assert all(p.where for p in error.problems)


def test_check_prints_problems_and_exit_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD.replace('profile = "rpi4"', 'profile = "rpi44"'))
    assert main(["check", "--config", str(path), "--json"]) == 2
    found = {p["where"]: p["what"] for p in json.loads(capsys.readouterr().out)["problems"]}
    assert "rpi4" in found["device.profile"]
    assert "data.npz" in found["pipelines[0].source.path"]


def test_check_says_fine_with_exit_status_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data.npz").touch()
    text = GOOD.replace('state_dir = "state"', f'state_dir = "state"\nruntime_dir = "{tmp_path}/run"')
    assert main(["check", "--config", str(written(tmp_path, text))]) == 0
    assert "fine" in capsys.readouterr().out


def test_a_client_certificate_without_tls_is_no_secret_connection(tmp_path: Path) -> None:
    text = GOOD.replace('host = "127.0.0.1"', 'host = "127.0.0.1"\ntls_cert = "device.pem"')
    assert "tls_ca" in problems(tmp_path, text)["mqtt.tls_cert"]


def test_two_sinks_do_not_write_one_file(tmp_path: Path) -> None:
    sink = '[[pipelines.sinks]]\nkind = "jsonl"\npath = "{}"\n'
    found = problems(tmp_path, GOOD + sink.format("a/out.jsonl") + sink.format("a/../a/out.jsonl"))
    assert [where for where in found if where.startswith("pipelines[0].sinks")] == ["pipelines[0].sinks[2].path"]
    assert "another sink" in found["pipelines[0].sinks[2].path"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("agent.toml", "the configuration itself"),
        ("x/../tiny.edgemodel", "models[0].bundle"),
        ("data.csv", "pipelines[0].source.path"),
        ("out.jsonl.2", "another sink"),
    ],
)
def test_a_sink_does_not_write_over_what_something_else_needs(tmp_path: Path, path: str, what: str) -> None:
    text = GOOD.replace('name = "digits"', 'name = "digits"\nbundle = "tiny.edgemodel"', 1).replace("data.npz", "data.csv")
    found = problems(tmp_path, text + f'[[pipelines.sinks]]\nkind = "jsonl"\npath = "{path}"\n')
    assert what in found["pipelines[0].sinks[1].path"]


def test_a_sink_does_not_rotate_onto_what_another_one_writes(tmp_path: Path) -> None:
    text = GOOD.replace("out.jsonl", "out.jsonl.3") + '[[pipelines.sinks]]\nkind = "jsonl"\npath = "out.jsonl"\n'
    assert "another sink" in problems(tmp_path, text)["pipelines[0].sinks[1].path"]
    load_config(written(tmp_path, text + "keep = 2\n"))


@pytest.mark.parametrize(
    ("table", "where", "by"),
    [
        ('[[pipelines.sinks]]\nkind = "socket"\nlisten = "{run}/agent.sock"\n', "pipelines[0].sinks[1].listen", "the agent's own"),
        ('[api]\nlisten = ["unix", "unix"]\n', "api.listen[1]", "api.listen[0]"),
        (
            '[[pipelines.sinks]]\nkind = "socket"\nlisten = "{run}/x/../api.sock"\n[api]\nlisten = ["unix"]\n',
            "pipelines[0].sinks[1].listen",
            "api.listen[0]",
        ),
        (
            '[[pipelines.sinks]]\nkind = "socket"\nlisten = "127.0.0.1:9000"\n'
            '[[pipelines.sinks]]\nkind = "socket"\nlisten = "localhost:9000"\n',
            "pipelines[0].sinks[2].listen",
            "pipelines[0].sinks[1].listen",
        ),
    ],
)
def test_an_address_has_one_listener(tmp_path: Path, table: str, where: str, by: str) -> None:
    text = GOOD.replace('state_dir = "state"', 'state_dir = "state"\nruntime_dir = "run"') + table.format(run=tmp_path / "run")
    assert by in problems(tmp_path, text)[where]


def test_sinks_may_connect_to_one_address(tmp_path: Path) -> None:
    sink = '[[pipelines.sinks]]\nkind = "socket"\nconnect = "127.0.0.1:9000"\n'
    load_config(written(tmp_path, GOOD + sink + sink))


def test_a_number_of_thousands_of_digits_is_a_problem_of_the_file(tmp_path: Path) -> None:
    assert "is not TOML" in problems(tmp_path, GOOD.replace("rate_hz = 10", "rate_hz = " + "9" * 5000))[str(tmp_path / "agent.toml")]


def test_a_kind_of_the_wrong_type_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, GOOD.replace('kind = "replay"', "kind = 5")))
    assert [problem.where for problem in caught.value.problems] == ["pipelines[0].source.kind"]


def test_windows_by_time_follow_one_another_unless_they_overlap(tmp_path: Path) -> None:
    def pipeline(keys: str) -> str:
        return GOOD.replace('model = "digits"', f'model = "digits"\n{keys}', 1)

    (read,) = load_config(written(tmp_path, pipeline("length = 10\nlength_s = 2"))).pipelines
    assert (read.length_s, read.hop_s) == (2.0, 2.0)
    assert "length_s" in problems(tmp_path, pipeline("length = 10\nhop_s = 2"))["pipelines[0].hop_s"]
    assert "length_s" in problems(tmp_path, pipeline('on_gap = "skip"'))["pipelines[0].on_gap"]
    assert "hop_s" in problems(tmp_path, pipeline("length = 10\nlength_s = 2\nhop = 5"))["pipelines[0].hop"]
    assert "rows" in problems(tmp_path, pipeline("length_s = 2"))["pipelines[0].length"]
    assert "0.001" in problems(tmp_path, pipeline("length = 10\nlength_s = 2\nhop_s = 1e-9"))["pipelines[0].hop_s"]


def test_a_file_nested_without_end_is_one_problem(tmp_path: Path) -> None:
    found = problems(tmp_path, "a = " + "[" * 5000)
    assert len(found) == 1
    assert "nested" in next(iter(found.values()))
