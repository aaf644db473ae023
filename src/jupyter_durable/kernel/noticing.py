"""What cells of a job do outside durable runs that a restart of the kernel would do again.

Called by the runner (`headless.repeats`) in each kernel of a job, by name: it sends no code but these calls.
"""

from __future__ import annotations

import json

from jupyter_durable.runtime.context import SCOPE
from jupyter_durable.runtime.effects import EffectWatch

_VERBS = {"process": "started", "file": "wrote", "connection": "connected to"}
_watch: EffectWatch | None = None


def begin() -> None:
    """Take notes from here on. May be repeated."""
    global _watch
    if _watch is None:
        _watch = EffectWatch(in_scope=lambda: SCOPE.get() is None)
        _watch.install()


def seen() -> str:
    """What happened since the last call, as a JSON list of a few words each.

    >>> seen()
    '[]'
    """
    found = _watch.drain() if _watch is not None else []
    return json.dumps([f"{_VERBS[effect.kind]} {effect.what}" for effect in found])
