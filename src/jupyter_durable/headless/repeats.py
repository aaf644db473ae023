"""Cells that run twice: which of them did something that can be seen from outside.

Set-up cells run again in a new kernel, for that is how it gets its imports and definitions. One that sent a
message the first time sends it again: nobody can know whether that matters, but it is said.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

ONCE = "run-once"
"""The tag of a cell that a new kernel of the same job does not run again."""

BEGIN = "__import__('importlib').import_module('jupyter_durable.kernel.noticing').begin()"
_SEEN = "__import__('importlib').import_module('jupyter_durable.kernel.noticing').seen()"
EXPRESSIONS: Mapping[str, str] = {"jupyter_durable_seen": _SEEN}
"""What is asked for with each cell."""
_MOST = 8


class Repeats:
    """What was seen of each cell, by its index.

    >>> repeats = Repeats({"0": ["wrote a.txt"]})
    >>> repeats.as_json()
    {'0': ['wrote a.txt']}
    """

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        self.seen: dict[int, list[str]] = {
            int(index): list(map(str, found)) for index, found in (known or {}).items()
        }

    def note(self, index: int, reply: Mapping[str, Any]) -> None:
        """Keep what a cell's reply says of it. Never raises: another kernel says nothing, or something else."""
        try:
            said = reply["content"]["user_expressions"]["jupyter_durable_seen"]["data"]["text/plain"]
            found = [str(words) for words in json.loads(ast.literal_eval(said))]
        except (KeyError, TypeError, ValueError, SyntaxError):
            return
        if found:
            known = self.seen.setdefault(index, [])
            known += [words for words in found if words not in known][: _MOST - len(known)]

    def as_json(self) -> dict[str, list[str]]:
        """To be kept in the notebook's metadata."""
        return {str(index): found for index, found in sorted(self.seen.items())}


def is_durable(source: str) -> bool:
    """Whether a cell keeps what it did by itself.

    >>> is_durable("%%durable research\\nx = 1"), is_durable("x = 1")
    (True, False)
    """
    return source.startswith("%%durable")
