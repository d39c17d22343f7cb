"""How an inference is stopped from outside while the main thread is in native code."""

from __future__ import annotations

import os
import signal
import threading

from edge_agent.inference.wire import Channel
from edge_agent.ports import Runtime

STACK_BYTES = 256 << 10


def stop_on_signal(runtime: Runtime, channel: Channel) -> None:
    """From now on SIGUSR1 makes the inference under way fail, and the engine hears ``stopped``; where the runtime cannot, nothing happens.

    No Python handler runs while the main thread is in native code, but the interpreter writes the signal's number to a pipe at once, and
    a thread that sleeps on it calls the runtime. Raises MemoryError where there is no room for the thread's stack.
    """
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    before = threading.stack_size(STACK_BYTES)
    try:
        threading.Thread(target=_stop_when_told, args=(wake_read, runtime, channel), name="stop", daemon=True).start()
    except RuntimeError:
        raise MemoryError from None
    finally:
        threading.stack_size(before)


def _stop_when_told(wake_read: int, runtime: Runtime, channel: Channel) -> None:
    while True:
        if signal.SIGUSR1 in os.read(wake_read, 64) and runtime.stop():
            channel.send({"event": "stopped"}, timeout_s=1.0)
