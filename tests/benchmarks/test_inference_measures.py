"""What the inference plane's figures are computed with: outages, clients that count failures, networks that can be made to misbehave."""

from __future__ import annotations

import itertools
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from waiting import wait_for

from benchmarks.inference.bundles import bundle_of, share_equal_files
from benchmarks.inference.layers import HARMLESS
from benchmarks.inference.loads import Outcome, load, outage_ms
from benchmarks.inference.nets import NETS, bare_session
from benchmarks.inference.processes import Process, cpu_ns, pss_kib, tree
from benchmarks.inference.requests import infer_request
from benchmarks.inference.server import Server

MS = 1_000_000
ANSWER = struct.pack("<5f", 1, 2, 3, 4, 5)


def outcome_of(*requests: tuple[int, int, bool]) -> Outcome:
    """Began (ms), took (ms), good."""
    started, took, good = zip(*requests, strict=True)
    return Outcome(np.array(started) * MS, np.array(took) * MS, np.array(good))


def test_an_outage_is_the_longest_time_without_a_good_answer_around_it() -> None:
    found = outcome_of((0, 10, True), (10, 5, False), (15, 45, True), (60, 5, True), (65, 300, True))
    assert outage_ms(found, 12 * MS, 62 * MS) == 50


def test_a_failed_request_does_not_end_an_outage() -> None:
    assert outage_ms(outcome_of((0, 10, True), (10, 5, False), (20, 80, True)), 11 * MS, 99 * MS) == 90


def test_an_outage_without_end_lasts_until_the_load_ended() -> None:
    found = outcome_of((0, 10, True), (10, 2000, False), (2010, 1000, False))
    assert outage_ms(found, 12 * MS, 10_000 * MS) == 3000


def test_a_binary_request_says_where_its_json_ends() -> None:
    head, _, body = infer_request(NETS["sense"]).partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:])
    length = int(fields[b"inference-header-content-length"])
    told = json.loads(body[:length])
    assert int(fields[b"content-length"]) == len(body)
    assert told["inputs"][0]["parameters"]["binary_data_size"] == len(body) - length
    assert body[length:] == NETS["sense"].sample().tobytes()


@pytest.mark.parametrize("name", ["growing", "looping"])
def test_the_misbehaving_networks_answer_as_the_plain_one_until_they_are_asked_to(name: str, tmp_path: Path) -> None:
    x = NETS["sense"].sample()
    plain, other = (bare_session(NETS[each].save(tmp_path / f"{each}.onnx")) for each in ("sense", name))
    assert np.allclose(plain.run(None, {"x": x})[0], other.run(None, {"x": x})[0])
    x[0, 0, 0] = HARMLESS + 1000
    assert np.allclose(plain.run(None, {"x": x})[0], other.run(None, {"x": x})[0])


def test_versions_with_equal_weights_share_a_file(tmp_path: Path) -> None:
    one, same, other = (bundle_of(NETS["sense"], tmp_path / v, version=v, seed=s) for v, s in (("1", 0), ("2", 0), ("3", 1)))
    share_equal_files([one, same, other])
    assert (one.folder / "model.onnx").samefile(same.folder / "model.onnx")
    assert not (one.folder / "model.onnx").samefile(other.folder / "model.onnx")


def test_a_process_is_found_below_its_parent_and_its_work_is_counted() -> None:
    with subprocess.Popen([sys.executable, "-c", "sum(range(3_000_000)); input()"], stdin=subprocess.PIPE) as child:
        try:
            below = tree(os.getpid())
            assert child.pid in [process.pid for process in below]
            wait_for(lambda: cpu_ns([child.pid]) > MS)
            assert pss_kib(child.pid) > 0
        finally:
            child.kill()
    assert child.pid not in [process.pid for process in tree(os.getpid())]
    assert pss_kib(child.pid) == 0


class Fickle(BaseHTTPRequestHandler):
    """Answers every third request with a 503 and ends the connection of every fifth without an answer."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[int]] = []
    numbers = itertools.count(1)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        number = next(Fickle.numbers)
        Fickle.asked.append(number)
        if number % 5 == 0:
            self.close_connection = True
            return
        self.send_response(503 if number % 3 == 0 else 200)
        self.send_header("Inference-Header-Content-Length", "2")
        self.send_header("Content-Length", str(2 + len(ANSWER)))
        self.end_headers()
        self.wfile.write(b"{}" + ANSWER)

    def log_message(self, *args: Any) -> None:
        pass


class Started(Server):
    """One that stands already."""

    def command(self) -> Sequence[str]:
        return ()

    def ready_paths(self) -> Sequence[str]:
        return ()

    def model_processes(self) -> list[Process]:
        return []


@contextmanager
def fickle(room: Path) -> Iterator[Server]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Fickle) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        server = Started(room)
        server.port = listening.server_address[1]
        yield server
        listening.shutdown()


def test_clients_count_every_failure_and_tell_answers_apart(tmp_path: Path) -> None:
    with fickle(tmp_path) as server, load(server, NETS["sense"], clients=2, timeout_s=5.0) as running:
        Fickle.asked.clear()
        running.begin()
        wait_for(lambda: len(Fickle.asked) > 60)
        found = running.end()
    assert found.count == len(Fickle.asked)
    assert found.failed == sum(n % 5 == 0 or n % 3 == 0 for n in Fickle.asked)
    assert found.answers == {ANSWER: found.count - found.failed}
    assert any(reason.startswith("503") for reason in found.reasons)
    assert any("ended the connection" in reason for reason in found.reasons)
