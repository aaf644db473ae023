"""Responses in the journal.

One that is small and complete is one outcome entry:

    outcome {"s": "completed"}          {"head": {...}, "body": b"..."}

any other a row of chunk entries, in the order in which all chunks of the run were delivered (where streams took
turns within a moment, each has one entry, and `o` says when its turns were, see `runtime.pieces`):

    chunk   {"i": 0}                    {"status": 200, "reason": "OK", "version": "HTTP/1.1", "headers": [...]}
    chunk   {"i": 1, "z": [5, 7], "t": [12, 40]}    the bytes of two chunks, that came 12 and 40 ms after the head
    outcome {"s": "completed", "n": 3}  None

Of an outcome, `n` says how many chunks were delivered, the head among them; `closed` that the consumer closed it
before its end, `left` that it never closed it, `stopped` that it was cancelled when all but the end had come; `cut` that the connection broke when the strand had already acted
on it, so that asking again is another step; `m` what the reader found (tokens, cost). A response with a status
of 400 or more is an outcome `failed` that holds the response: an SDK makes an error of it, and if that ends the
run, the step is tried again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Payload
from jupyter_durable.runtime.exchange import Head


def encode_head(head: Head, secret: Callable[[str, str], bool]) -> dict[str, Any]:
    """A head as it is stored. Credentials in it are sealed."""
    headers: list[list[Any]] = [
        [name.decode("latin-1"), value.decode("latin-1")] for name, value in head.headers
    ]
    for header in headers:
        if secret(header[0], header[1]):
            from pydantic import SecretStr  # here: only who gets cookies pays for the import

            header[1] = SecretStr(header[1])
    return {"status": head.status, "reason": head.reason, "version": head.version, "headers": headers}


def decode_head(data: Mapping[str, Any]) -> Head:
    """The head again."""
    headers = tuple((name.encode("latin-1"), _bytes(value)) for name, value in data["headers"])
    return Head(data["status"], data["reason"], headers, data["version"])


def _bytes(value: Any) -> bytes:
    text: str = value if isinstance(value, str) else value.get_secret_value()
    return text.encode("latin-1")


@contextlib.contextmanager
def without_requests(error: BaseException) -> Iterator[None]:
    """Errors of HTTP libraries hold the request, with its credentials: not to be stored."""
    taken: list[tuple[BaseException, str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(taken) < 30:
        held = vars(current)
        names = [name for name in ("request", "_request", "response", "_response") if name in held]
        taken += [(current, name, held.pop(name)) for name in names]
        current = current.__cause__ or current.__context__
    try:
        yield
    finally:
        for owner, name, value in taken:
            vars(owner)[name] = value


_DELAYS = (b"retry-after", b"retry-after-ms")


def at_once(head: Head) -> Head:
    """A head that asks to try again, and now at once: what comes of it is recorded."""
    kept = [header for header in head.headers if header[0].lower() not in _DELAYS]
    return head._replace(headers=(*kept, (b"retry-after-ms", b"1")))


def delivered(recorded: RecordedStep) -> int:
    """How many chunks of a stream were delivered, the head among them."""
    return sum(len(entry.meta.get("z", "1")) for entry in recorded.chunks or ())


def split(data: bytes, meta: Mapping[str, Any]) -> tuple[list[bytes], list[float]]:
    """A chunk entry's bytes as they came, and when, in seconds after the head.

    >>> split(b"abcde", {"z": [2, 3], "t": [0, 40]})
    ([b'ab', b'cde'], [0.0, 0.04])
    """
    chunks: list[bytes] = []
    at = 0
    for size in meta.get("z", (len(data),)):
        chunks.append(data[at : at + size])
        at += size
    return chunks, [ms / 1000 for ms in meta.get("t", [0] * len(chunks))]


def turns(meta: Mapping[str, Any], count: int) -> Iterator[tuple[int, int]]:
    """The turns that the `count` chunks of an entry were delivered in, each as the first and the one after the last.

    >>> list(turns({"g": 0, "o": [0, 2, 5, 1]}, 3)), list(turns({}, 3))
    ([(0, 2), (2, 3)], [(0, 3)])
    """
    first = 0
    for size in meta["o"][1::2] if "o" in meta else (count,):
        yield first, first + size
        first += size


def response_of(
    step: RecordedStep, decode: Callable[[Payload | None, int], Any]
) -> tuple[Head, bytes] | None:
    """What was received of an exchange, for whoever shows it: head and raw bytes (maybe compressed, maybe only a part).

    None if nothing was, or the outcome is an error. `decode(payload, seq)` gives an entry's value.
    """
    if step.chunks:
        first, *rest = step.chunks
        head = decode_head(decode(first.payload, first.seq))
        return head, b"".join([decode(entry.payload, entry.seq) for entry in rest])
    if step.outcome is None or step.outcome.payload is None:
        return None
    value = decode(step.outcome.payload, step.outcome.seq)
    if isinstance(value, dict) and "head" in value:
        return decode_head(value["head"]), value["body"]
    return None
