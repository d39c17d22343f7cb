"""paho-mqtt without the modules it imports for WebSockets behind an HTTP proxy, which this agent never uses.

``paho.mqtt.client`` imports ``urllib.request`` for one function that is called only where PySocks is installed. That drags in http.client
and the e-mail package: 1.2 MB of the control process, for as long as the device runs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_UNUSED = "urllib.request"


def import_client() -> Any:
    """The module ``paho.mqtt.client``."""
    if _UNUSED in sys.modules or "paho.mqtt.client" in sys.modules or find_spec("socks") is not None:
        return import_module("paho.mqtt.client")
    sys.modules[_UNUSED] = ModuleType(_UNUSED)
    try:
        return import_module("paho.mqtt.client")
    finally:
        del sys.modules[_UNUSED]  # whoever needs the real one imports it
