"""Workers that die, hang and are replaced while clients ask."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_rig import Answer, Client, FrontRig, infer_json
from waiting import wait_for

from benchmarks.tiny_model import TinyBundle, linear_graph, make_bundle, poisonable_graph
from edge_agent.values import TensorSpec

INFER = "/v2/models/tiny/infer"
POISON = 1e18


class Gated:
    """A runtime that answers only while ``gate`` is a file; the tests say when."""

    name, version = "gated", "1"
    inputs = (TensorSpec("x", "float32", (1, 4)),)
    outputs = (TensorSpec("y", "float32", (1, 3)),)

    def __init__(self, gate: Path) -> None:
        self._gate = gate

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        while not self._gate.exists():
            threading.Event().wait(0.002)
        return {"y": np.full((1, 3), arrays["x"].sum(), np.float32)}

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        return None

    def close(self) -> None:
        pass


class Slow(Gated):
    """A runtime that takes ``seconds`` for an answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        threading.Event().wait(self._seconds)
        return {"y": np.zeros((1, 3), np.float32)}


class Flood:
    """Clients that ask as fast as they can, each over its own connection; every answer is kept as (status, version)."""

    def __init__(self, rig: FrontRig, clients: int = 4) -> None:
        self.answers: list[tuple[int, str]] = []
        self.slowest_s = 0.0
        self.heard: set[int] = set()
        self._clients = clients
        self._stop = threading.Event()
        self._rig = rig
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with self._rig.connect() as client:
            while not self._stop.is_set():
                began = time.monotonic()
                answer = client.ask("POST", INFER, infer_json([1, 2, 3, 4]))
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                self.answers.append((answer.status, answer.json.get("model_version", answer.body.decode())))
                self.heard.add(threading.get_ident())

    def wait(self, more: int) -> None:
        """Until ``more`` further answers came."""
        there = len(self.answers)
        wait_for(lambda: len(self.answers) >= there + more, 20.0, f"{more} answers")

    def wait_for_all(self) -> None:
        """Until every client is connected and was answered."""
        wait_for(lambda: len(self.heard) == self._clients, 20.0, "an answer for each client")

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20.0)


@pytest.fixture
def flooded(served: FrontRig) -> Any:
    flood = Flood(served)
    flood.wait_for_all()
    yield flood
    flood.stop()


def held(pid: int) -> tuple[int, int]:
    """Descriptors of a process, and links mapped by it."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), maps.count("edge-link")


def in_thread(act: Callable[[], Answer]) -> tuple[threading.Thread, list[Answer]]:
    found: list[Answer] = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    return thread, found


def test_killed_workers_cost_no_request(served: FrontRig, bundle: TinyBundle, flooded: Flood) -> None:
    before = held(served.pid)
    for number in (signal.SIGKILL, signal.SIGSEGV) * 5:
        flooded.wait(20)
        worker = served.workers[-1]
        worker.signal(number)
        served.lose(worker)
        served.serve(bundle)
    flooded.wait(20)
    wait_for(lambda: held(served.pid) == before, what="the last link of a dead worker is closed")
    flooded.stop()
    assert {status for status, _ in flooded.answers} == {200}
    counted = served.ask("GET", "/v2/models/tiny/stats").json["model_stats"][0]["service"]
    assert counted["requests"] == counted["answered"] == len(flooded.answers)


def test_a_stopped_worker_is_told_as_hung_and_its_requests_are_answered_by_the_next(
    make_rig: Callable[..., FrontRig], bundle: TinyBundle
) -> None:
    rig = make_rig(deadline_ms=3000)
    worker, spare = rig.serve(bundle), rig.worker(bundle)
    flood = Flood(rig)
    try:
        flood.wait(20)
        worker.signal(signal.SIGSTOP)
        rig.wait_message("hung", link=worker.links[0])
        rig.lose(worker)
        rig.link(spare)
        flood.wait(20)
    finally:
        flood.stop()
    assert {status for status, _ in flood.answers} == {200}
    assert rig.heard("status") and not [m for m in rig.messages if m["event"] == "event"]


def test_at_its_deadline_a_request_is_answered_whatever_happens(make_rig: Callable[..., FrontRig], bundle: TinyBundle) -> None:
    rig = make_rig(deadline_ms=600)
    worker = rig.serve(bundle)
    worker.signal(signal.SIGSTOP)
    answer = rig.infer([1, 2, 3, 4])
    assert (answer.status, "600 ms" in answer.json["error"]) == (504, True)
    assert len(rig.heard("hung")) == 1


def test_ready_turns_false_while_the_worker_hangs_and_true_again(make_rig: Callable[..., FrontRig], bundle: TinyBundle) -> None:
    rig = make_rig(deadline_ms=4000)
    worker = rig.serve(bundle)
    assert [rig.ask("GET", path).status for path in ("/v2/health/ready", "/v2/models/tiny/ready", "/v1/models/tiny")] == [200] * 3
    worker.signal(signal.SIGSTOP)
    wait_for(lambda: rig.ask("GET", "/v2/health/ready").status == 503, 3.0, "not ready")
    assert rig.ask("GET", "/v2/models/tiny/ready").status == 503
    unready = rig.ask("GET", "/v1/models/tiny")
    assert unready.status == 503 and unready.json["error"]
    assert rig.ask("GET", "/v2/health/live").status == 200
    worker.signal(signal.SIGCONT)
    wait_for(lambda: rig.ask("GET", "/v2/health/ready").status == 200, 3.0, "ready again")


def test_a_model_slower_than_a_trial_is_waited_for_is_ready_once_it_is_known(
    make_rig: Callable[..., FrontRig], bundle: TinyBundle, tmp_path: Path
) -> None:
    rig = make_rig(deadline_ms=30_000)
    rig.serve(bundle, Slow(1.2))
    assert rig.ask("GET", "/v2/health/ready").status == 503
    wait_for(lambda: b'edge_api_in_flight{model="tiny"} 0' in rig.ask("GET", "/metrics").body, what="the end of the first trial")
    for _ in range(2):
        threading.Event().wait(0.6)  # an answer counts for half a second: each look is a trial of its own
        assert rig.ask("GET", "/v2/health/ready").status == 200


def test_ready_is_false_without_any_model(rig: FrontRig) -> None:
    answer = rig.ask("GET", "/v2/health/ready")
    assert answer.status == 503 and answer.json["error"]


def test_an_input_that_two_workers_die_of_is_quarantined(served: FrontRig, bundle: TinyBundle, tmp_path: Path) -> None:
    served.lose(served.workers[0])
    poisonable = make_bundle(tmp_path / "poisonable", graph=poisonable_graph(), version="1.0.1")
    served.serve(poisonable)
    thread, found = in_thread(lambda: served.infer([POISON, 0, 0, 0]))
    for _ in range(2):
        wait_for(lambda: b'edge_api_in_flight{model="tiny"} 1' in served.ask("GET", "/metrics").body, what="the worker to be asked")
        spin = served.workers[-1]
        wait_for(lambda pid=spin.pid: _busy(pid), what="the worker to begin")
        served.lose(spin)
        served.serve(poisonable)
    thread.join(10)
    assert found[0].status == 500 and "quarantined" in found[0].json["error"]
    again = served.infer([POISON, 0, 0, 0])
    assert again.status == 422 and "quarantined" in again.json["error"]
    assert served.infer([1, 2, 3, 4]).status == 200
    assert served.wait_message("event", kind="input_quarantined")["data"] == {"model": "tiny"}


def test_an_input_that_two_workers_hang_of_is_quarantined_and_still_answered_in_time(
    make_rig: Callable[..., FrontRig], tmp_path: Path
) -> None:
    rig = make_rig(deadline_ms=2000)
    poisonable = make_bundle(tmp_path / "poisonable", graph=poisonable_graph())
    first, second, third = rig.serve(poisonable), rig.worker(poisonable), rig.worker(poisonable)
    thread, found = in_thread(lambda: rig.infer([POISON, 0, 0, 0]))
    rig.wait_message("hung", link=first.links[0])
    rig.lose(first)
    rig.link(second)
    rig.wait_message("hung", link=second.links[0])
    thread.join(10)
    assert found[0].status in (500, 504)  # both are due at the same moment
    rig.lose(second)
    rig.link(third)
    assert rig.infer([POISON, 0, 0, 0]).status == 422
    assert rig.infer([1, 2, 3, 4]).status == 200
    assert rig.ask("POST", "/v1/models/tiny:predict", {"instances": [[POISON, 0, 0, 0]]}).status == 422


def _busy(pid: int) -> bool:
    """Whether the process has computed for some time: it is in its endless loop."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11]) > 10


def test_a_new_version_takes_over_without_a_failure_and_the_old_one_is_let_go(served: FrontRig, tmp_path: Path, flooded: Flood) -> None:
    versions = ["1.0.0"]
    for number in range(1, 11):
        flooded.wait(10)
        version = f"2.0.{number}"
        two = make_bundle(tmp_path / version, version=version, graph=linear_graph(number % 3))
        old = served.workers[-1]
        served.serve(two)
        old.end()  # the engine retires it once the new link is taken
        versions.append(version)
    flooded.wait(10)
    flooded.stop()
    assert {status for status, _ in flooded.answers} == {200}
    assert {version for _, version in flooded.answers} == set(versions)
    status = wait_for(
        lambda: [m for m in served.heard("status") if m["models"].get("tiny", {}).get("digest") == served.workers[-1].bundle.digest]
    )
    assert status


def test_what_is_in_flight_on_the_old_version_is_finished_there(
    make_rig: Callable[..., FrontRig], bundle: TinyBundle, tmp_path: Path
) -> None:
    rig, gate = make_rig(), tmp_path / "gate"
    rig.serve(bundle, Gated(gate))
    thread, found = in_thread(lambda: rig.infer([1, 2, 3, 4]))
    wait_for(lambda: b'edge_api_in_flight{model="tiny"} 1' in rig.ask("GET", "/metrics").body, what="the old worker to be asked")
    two = make_bundle(tmp_path / "two", version="2.0.0")
    number = rig.link(rig.worker(two))
    assert wait_for(lambda: rig.infer([1, 2, 3, 4]), what="an answer").json["model_version"] == "2.0.0"
    assert not rig.heard("linked", link=number)
    gate.touch()
    rig.wait_message("linked", link=number)
    thread.join(10)
    assert found[0].json["model_version"] == "1.0.0"


def test_a_full_queue_says_so_and_when_to_come_again(make_rig: Callable[..., FrontRig], bundle: TinyBundle, tmp_path: Path) -> None:
    rig, gate = make_rig(queue=3, deadline_ms=8000), tmp_path / "gate"
    rig.serve(bundle, Gated(gate), slots=2)
    clients = [rig.connect() for _ in range(6)]
    for client in clients:
        client.send(_request())
    last = clients[5].answer()
    assert last.status == 429 and last.json["error"] and int(last.headers["retry-after"]) >= 1
    assert b'edge_api_waiting{model="tiny"} 3' in rig.ask("GET", "/metrics").body
    gate.touch()
    assert [client.answer().status for client in clients[:5]] == [200] * 5
    service = rig.ask("GET", "/v2/models/tiny/stats").json["model_stats"][0]["service"]
    counted = ("requests", "answered", "rejected", "in_flight", "waiting", "workers")
    assert [service[key] for key in counted] == [6, 5, 1, 0, 0, 1]
    assert set(service) >= {"lambda_per_s", "mu_per_s", "rho"}


def test_several_workers_of_one_version_share_the_requests(make_rig: Callable[..., FrontRig], bundle: TinyBundle, tmp_path: Path) -> None:
    rig, shut, open_ = make_rig(), tmp_path / "shut", tmp_path
    rig.serve(bundle, Gated(shut))
    rig.serve(bundle, Gated(open_))
    clients = [rig.connect() for _ in range(2)]
    for client in clients:
        client.send(_request())
    wait_for(lambda: b'outcome="answered"} 1' in rig.ask("GET", "/metrics").body, what="the free worker's answer")
    shut.touch()
    assert [client.answer().status for client in clients] == [200, 200]


def test_a_client_that_leaves_does_not_disturb_the_others(make_rig: Callable[..., FrontRig], bundle: TinyBundle, tmp_path: Path) -> None:
    rig, gate = make_rig(), tmp_path / "gate"
    rig.serve(bundle, Gated(gate))
    with rig.connect() as gone:
        gone.send(_request())
        wait_for(lambda: b'edge_api_in_flight{model="tiny"} 1' in rig.ask("GET", "/metrics").body, what="the worker to be asked")
    gate.touch()
    assert rig.infer([1, 2, 3, 4]).status == 200


def test_an_order_to_end_lets_what_is_in_flight_finish(make_rig: Callable[..., FrontRig], bundle: TinyBundle, tmp_path: Path) -> None:
    rig, gate = make_rig(), tmp_path / "gate"
    rig.serve(bundle, Gated(gate))
    with rig.connect() as client:
        client.send(_request())
        wait_for(lambda: b'edge_api_in_flight{model="tiny"} 1' in rig.ask("GET", "/metrics").body, what="the worker to be asked")
        rig.say({"op": "end"})
        gate.touch()
        assert client.answer().status == 200
        assert client.ended()


def test_a_withdrawn_model_is_not_served(served: FrontRig) -> None:
    served.say({"op": "withdrawn", "model": "tiny"})
    answer = wait_for(lambda: (a := served.infer([1, 2, 3, 4])).status != 200 and a, what="a refusal")
    assert answer.status == 404 and answer.json["error"]
    assert served.ask("GET", "/v2/models/tiny/ready").status == 503


def test_the_inline_lane_answers_and_names_what_it_cannot_load(rig: FrontRig, bundle: TinyBundle) -> None:
    number = rig.inline(bundle)
    rig.wait_message("linked", link=number)
    assert rig.infer([1, 2, 3, 4]).json["outputs"][0]["data"] == [10.0, 0.0, 0.0]
    assert rig.ask("GET", "/v2/health/ready").status == 200
    (bundle.folder / "model.onnx").write_bytes(b"nonsense")
    second = rig.inline(TinyBundle(bundle.manifest, bundle.folder, "f" * 64))
    assert rig.wait_message("link_refused", link=second)["reason"]
    assert rig.infer([1, 2, 3, 4]).status == 200


def _request() -> bytes:
    from front_rig import request

    return request("POST", INFER, infer_json([1, 2, 3, 4]))


def test_the_heartbeat_shows_progress(served: FrontRig) -> None:
    assert served.infer([1, 2, 3, 4]).status == 200
    told = wait_for(lambda: [m for m in served.heard("status") if m["settled"] == 1], what="the status")[0]
    assert (told["requests"], told["busy"], told["models"]["tiny"]["answered"]) == (1, False, 1)
    assert sum(told["models"]["tiny"]["latency"]["total"]["counts"].values()) == 1


def test_a_slow_client_is_not_waited_for(served: FrontRig) -> None:
    with served.connect() as slow:
        slow.send(b"POST /v2/models/tiny/infer HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        for _ in range(10):
            assert served.infer([1, 2, 3, 4]).status == 200


def test_loading_is_the_engines_business(served: FrontRig) -> None:
    thread, found = in_thread(lambda: served.ask("POST", "/v2/repository/models/other/load"))
    call = served.wait_message("call", call="load", model="other")
    served.say({"op": "done", "id": call["id"], "error": "no version is installed"})
    thread.join(10)
    assert found[0].status == 400 and "no version is installed" in found[0].json["error"]
    thread, found = in_thread(lambda: served.ask("POST", "/v2/repository/models/tiny/unload"))
    call = served.wait_message("call", call="unload", model="tiny")
    served.say({"op": "done", "id": call["id"], "error": ""})
    thread.join(10)
    assert (found[0].status, found[0].json) == (200, {})


def test_loading_may_be_forbidden(make_rig: Callable[..., FrontRig]) -> None:
    rig = make_rig(load_allowed=False)
    answer = rig.ask("POST", "/v2/repository/models/tiny/load")
    assert answer.status == 403 and answer.json["error"]


def test_tcp_clients_are_served_as_well(served: FrontRig) -> None:
    with Client(("127.0.0.1", served.port)) as client:
        assert client.ask("POST", INFER, infer_json([1, 2, 3, 4])).status == 200


def _told(state: str) -> dict[str, str]:
    return {"name": "tiny", "version": "1.0.0", "digest": "", "state": state, "reason": ""}


@pytest.mark.parametrize("state", ["restarting", "serving", "switching"])
def test_who_comes_back_to_a_new_api_waits_for_the_worker_that_is_on_its_way(
    make_rig: Callable[..., FrontRig], bundle: TinyBundle, state: str
) -> None:
    rig = make_rig(models=[_told(state)], deadline_ms=20_000)
    found: list[Answer] = []
    asking = threading.Thread(target=lambda: found.append(rig.infer([1, 2, 3, 4])))
    asking.start()
    rig.wait_message("status")
    rig.serve(bundle)
    asking.join(10)
    assert [answer.status for answer in found] == [200]


def test_clients_wait_at_the_door_for_half_a_deadline_at_most(make_rig: Callable[..., FrontRig]) -> None:
    rig = make_rig(models=[_told("restarting")], deadline_ms=400)
    answer = rig.infer([1, 2, 3, 4])
    assert answer.status == 503 and "restarting" in answer.json["error"]


def test_a_model_that_never_served_keeps_nobody_at_the_door(make_rig: Callable[..., FrontRig]) -> None:
    rig = make_rig(models=[_told("starting")], deadline_ms=3_600_000)
    assert rig.ask("GET", "/v2/health/live").status == 200
