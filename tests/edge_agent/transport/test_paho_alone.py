from __future__ import annotations

import subprocess
import sys


def said(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_the_connection_needs_no_http_client() -> None:
    program = "import sys, edge_agent.transport.mqtt; print(sorted({'urllib.request', 'http.client', 'email.message'} & set(sys.modules)))"
    assert said(program) == "[]"


def test_whoever_needs_the_module_that_was_left_out_gets_the_real_one() -> None:
    assert said("import edge_agent.transport.mqtt, urllib.request; print(callable(urllib.request.urlopen))") == "True"


def test_where_proxies_may_be_used_nothing_is_left_out(tmp_path: object) -> None:
    program = "import sys, types; sys.modules['socks'] = types.ModuleType('socks'); sys.modules['socks'].__spec__ = sys.__spec__\n"
    program += "import edge_agent.transport.mqtt; print('http.client' in sys.modules)"
    assert said(program) == "True"
