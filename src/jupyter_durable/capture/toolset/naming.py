"""Names that every provider accepts: at most 64 characters of `[a-zA-Z0-9_-]`, each once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container

LONGEST = 64
_INVALID = re.compile(r"[^a-zA-Z0-9_-]+")


def valid(name: str) -> str:
    """A valid name that is the same for the same name, and tells long ones apart.

    >>> valid("weather.get forecast"), len(valid("x" * 100))
    ('weather_get_forecast', 64)
    """
    plain = _INVALID.sub("_", name) or "tool"
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - 9]}_{_digest(name)}"


def unique(name: str, taken: Container[str]) -> str:
    """`valid(name)`, or that with a suffix if it is taken.

    >>> unique("a.b", {"a_b"}) != "a_b"
    True
    """
    found = valid(name)
    number = 1
    while found in taken:
        number += 1
        found = f"{valid(name)[: LONGEST - 5]}_{number}"
    return found


def _digest(name: str) -> str:
    return hashlib.blake2s(name.encode(), digest_size=4).hexdigest()
