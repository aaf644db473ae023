"""How fast this machine is now, for the few budgets that are times and not ratios. Standard library only."""

from __future__ import annotations

import hashlib
import json
import time

REFERENCE = 5.5e-6
"""Seconds that a look-up took on the quiet 2-core machine on which the budgets were written."""

_BODY = json.dumps({"title": "The with statement", "score": 0.8125, "text": "clause of the rule; " * 45})
_COUNT = 2000


def _key(topic: int) -> bytes:
    return hashlib.blake2b(json.dumps([[topic], {}]).encode(), digest_size=16).digest()


_MEMO = {_key(topic): _BODY for topic in range(_COUNT)}


def lookup() -> float:
    """Seconds for the least that can answer a call from a record: digest its arguments, look it up, decode 1 KB."""
    start = time.perf_counter()
    for topic in range(_COUNT):
        json.loads(_MEMO[_key(topic)])
    return (time.perf_counter() - start) / _COUNT


def slowness(seconds: float) -> float:
    """How many times slower than the reference, at least 1, a machine is whose look-ups take `seconds`."""
    return max(1.0, seconds / REFERENCE)
