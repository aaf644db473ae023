"""What a run's code came to in the end: kept as text, so that an exported test can compare it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from jupyter_durable.codec.display import show
from jupyter_durable.model import Entry, Payload
from jupyter_durable.runtime.run import LiveRun

_KEY = "r"
"""Where the `closed` entry has it, sealed: it is the notebook's own."""


def came_to(run: LiveRun, value: Any) -> dict[str, str] | None:
    """For `Session.close_run(extra=...)`: that the run's code gave `value`. None: there is nothing to be kept."""
    if value is None or run.lease is None:
        return None
    return {_KEY: b64encode(run.codec.seal_json(show(value), bind=run.id).body).decode()}


def result(closed: Entry, decode: Callable[[Payload | None, int], Any]) -> str | None:
    """The text; None: none was kept."""
    if _KEY not in closed.meta:
        return None
    return str(decode(Payload("sealed1", b64decode(closed.meta[_KEY])), closed.seq))


def without(closed: Entry) -> dict[str, Any]:
    """What else the entry says, to whoever has not the store's key."""
    return {key: value for key, value in closed.meta.items() if key not in (_KEY, "redact")}
