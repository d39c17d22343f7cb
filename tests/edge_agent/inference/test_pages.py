"""Library pages are unmapped where the file holds the same, and nowhere else; the process goes on as if nothing had been."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.inference.pages import Mapping, forgettable, mappings

SMAPS = """\
55d0a0000000-55d0a0002000 r-xp 00000000 08:01 11                         /usr/lib/my lib.so
Size:                  8 kB
Rss:                   8 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me
55d0a0002000-55d0a0003000 r--p 00002000 08:01 11                         /usr/lib/my lib.so
Rss:                   4 kB
Anonymous:             4 kB
Swap:                  0 kB
55d0a0003000-55d0a0004000 r--p 00003000 08:01 11                         /usr/lib/my lib.so
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  4 kB
55d0a0004000-55d0a0005000 rw-p 00004000 08:01 11                         /usr/lib/my lib.so
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
55d0a0005000-55d0a0006000 r--p 00005000 08:01 11                         /usr/lib/my lib.so
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
55d0a0006000-55d0a0007000 r--s 00000000 08:01 12                         /srv/model.tflite
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
55d0a0007000-55d0a0008000 r--p 00000000 08:01 12                         /srv/model.tflite
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
55d0a0008000-55d0a0009000 rw-p 00000000 00:00 0
Rss:                   4 kB
Anonymous:             4 kB
Swap:                  0 kB
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
"""


def test_only_unchanged_pages_of_libraries_are_forgotten() -> None:
    chosen = [(m.access, m.start & 0xFFFF) for m in forgettable(mappings(SMAPS.splitlines(keepends=True)))]
    assert chosen == [("r-xp", 0x0000), ("r--p", 0x5000)]


def test_a_kernel_that_does_not_tell_of_swap_is_not_trusted() -> None:
    lines = [line for line in SMAPS.splitlines() if not line.startswith("Swap:")]
    assert list(forgettable(mappings(lines))) == []


@given(
    st.lists(
        st.builds(
            Mapping,
            start=st.integers(0, 9),
            end=st.integers(10, 19),
            access=st.sampled_from(("r-xp", "r--p", "rw-p", "rwxp", "r-xs")),
            path=st.sampled_from(("/a.so", "/b.so", "[heap]", "")),
            resident_kib=st.integers(0, 8),
            own_kib=st.none() | st.integers(0, 8),
        )
    )
)
def test_nothing_that_is_this_process_own_is_ever_chosen(found: list[Mapping]) -> None:
    for m in forgettable(found):
        assert m.own_kib == 0 and "w" not in m.access and m.access.endswith("p") and m.path.startswith("/")


def test_everything_still_works_afterwards_and_less_is_mapped() -> None:
    code = """
import gc, json, re, sqlite3
import numpy as np
from edge_agent.runtimes import onnx
from edge_agent.inference.pages import forget_libraries
onnx.warm_up()
def work():
    onnx.warm_up()
    a = np.random.default_rng(1).normal(size=(40, 40))
    return [float(np.linalg.norm(np.linalg.inv(a))), json.dumps({"a": [1.5]}), re.sub("a+", "b", "caaat"), gc.collect() >= 0]
before = work()
gone_kib = forget_libraries()
assert gone_kib > 1000, gone_kib
assert work() == before
again_kib = forget_libraries()
assert 0 < again_kib < gone_kib, (again_kib, gone_kib)
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")
