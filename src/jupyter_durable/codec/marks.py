"""Recognising a secret without having it: what a run leaves for processes that show or export it.

What hides a key in a response or an item that came in pieces is that somebody knows it. The process that recorded it
did: from its environment, or because it had met it under a secret's name. Another one does not. So every run
keeps, encrypted, a *mark* of each: three characters to look for, the length and a hash. That finds the secret
wherever it stands, and does not store it.

>>> mark = make("plain-1a1a-key", b"salt")
>>> list(find("it is plain-1a1a-key", [mark])), list(find("it is plain-1a1a-cat", [mark]))
([(6, 20)], [])
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_HEAD = 3


class Mark(NamedTuple):
    """Of a text of `size` characters that begins with `head`."""

    head: str
    size: int
    digest: str
    salt: str


def make(text: str, salt: bytes) -> Mark:
    """The mark of a text. `salt`: at most 64 bytes; with the same, equal texts have equal marks."""
    return Mark(text[:_HEAD], len(text), _digest(text, salt), salt.hex())


def find(text: str, marks: Iterable[Mark]) -> Iterator[tuple[int, int]]:
    """Where what was marked stands in `text`."""
    for head, size, digest, salt in marks:
        start = text.find(head)
        while 0 <= start <= len(text) - size:
            if _digest(text[start : start + size], bytes.fromhex(salt)) == digest:
                yield start, start + size
            start = text.find(head, start + 1)


def cut(text: str, marks: Iterable[Mark]) -> int:
    """Where, at the end of `text`, something begins that may be one as soon as there is more; else its length."""
    least = len(text)
    for head, size, *_ in marks:
        start = text.find(head, max(len(text) - size + 1, 0))
        if start >= 0:
            least = min(least, start)
    return least


def _digest(text: str, salt: bytes) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=salt, digest_size=8).hexdigest()
