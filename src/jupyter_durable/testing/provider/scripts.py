"""From a script to what one request gets.

A script is answerable without memory: after a crash a call is made again, and a script that
counted calls would be one reply ahead for ever. So `turns` counts what the model has already said in the
conversation that it is sent, and troubles are counted for each request by what is in it.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from jupyter_durable.capture.wire.writing.replies import Reply
from jupyter_durable.capture.wire.writing.requests import Request
from jupyter_durable.testing.provider.troubles import Chain, Item, Trouble

Script = Item | Sequence[Item] | Callable[[Request], Item | Sequence[Item]]
"""What `FakeProvider` takes: one answer for ever, `turns`, or a function of the request."""


class ScriptError(ValueError):
    """The script has no answer to a request, or is not one. The request is answered with status 400 and this message."""


def turns(items: Sequence[Item]) -> Callable[[Request], Chain]:
    """The n-th reply answers a conversation in which the model has spoken n times already, however often it is asked.

    Troubles belong to the reply that follows them.

    >>> script = turns(["first", fault(429, times=2), "second"])
    """
    chains = list(_chains(items))

    def script(request: Request) -> Chain:
        if request.turn >= len(chains):
            raise ScriptError(f"the script has {len(chains)} turns; in this conversation they are used up")
        return chains[request.turn]

    return script


def in_order(items: Sequence[Item]) -> Callable[[Request], Chain]:
    """The n-th reply answers the n-th request, whatever is in it; troubles count as requests.

    For agents whose conversation does not grow. It shifts when a call is made again; prefer `turns`.
    """
    left: list[Chain] = []
    chain: list[Reply | Trouble] = []
    for item in map(_item, items):
        if isinstance(item, Trouble) and item.kind in ("fault", "drop") and item.after is None:
            left += [(item,)] * int(item.times or 1)
            continue
        chain.append(item if isinstance(item, Reply) else replace(item, times=math.inf))
        if isinstance(item, Reply):
            left.append(tuple(chain))
            chain = []
    lock = threading.Lock()

    def script(request: Request) -> Chain:
        with lock:
            if not left:
                raise ScriptError(f"all {len(items)} answers of the script are used up")
            return left.pop(0)

    return script


def echo(request: Request) -> str:
    """The script of a provider that was given none: it says what it was told."""
    return f"You said: {request.prompt}"


def compiled(script: Script) -> Callable[[Request], Chain]:
    """`script`, whatever form it has, as a function from a request to troubles and a reply."""
    if callable(script):
        function = script

        def answer(request: Request) -> Chain:
            said = function(request)
            return _chain(said if isinstance(said, list | tuple) else [cast("Item", said)])

        return answer
    if isinstance(script, str | Reply | Trouble):
        chain = _chain([script])
        return lambda request: chain
    return turns(script)


@dataclass(frozen=True)
class Plan:
    """What one request gets: `reply` unless `failure` comes first, or in its middle."""

    reply: Reply
    failure: Trouble | None = None
    delay: float = 0.0
    first: float = 0.0

    @property
    def at_once(self) -> Trouble | None:
        """A failure instead of an answer."""
        return self.failure if self.failure is not None and self.failure.after is None else None


class Met:
    """How often each request has met each trouble."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, int]] = Counter()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._counts.clear()

    def plan(self, chain: Chain, key: str) -> Plan:
        """What `chain` has for the request with the digest `key` now; counts it."""
        said = chain[-1] if isinstance(chain[-1], Reply) else None
        failure: Trouble | None = None
        delay = first = 0.0
        with self._lock:
            for at, item in enumerate(chain):
                if isinstance(item, Reply):
                    break
                limit = item.times if item.times is not None else 1 if said is not None else math.inf
                if self._counts[key, at] >= limit or (failure is not None and item.kind != "slow"):
                    continue
                self._counts[key, at] += 1
                if item.kind == "slow":
                    delay, first = max(delay, item.delay), first + item.first
                else:
                    failure = item
        if said is None and failure is None:
            raise ScriptError("the script has faults here that are used up, and no reply after them")
        return Plan(said or Reply(), failure, delay, first)


def _item(item: Item) -> Reply | Trouble:
    if isinstance(item, str):
        return Reply(item)
    if isinstance(item, Reply | Trouble):
        return item
    raise ScriptError(
        f"a script is made of text, replies and troubles, not of {type(item).__name__}: {item!r}"
    )


def _chain(items: Iterable[Item]) -> Chain:
    chains = list(_chains(items))
    if len(chains) != 1:
        raise ScriptError(
            f"one request gets one reply, not {len(chains)}; for a conversation, use turns([...])"
        )
    return chains[0]


def _chains(items: Iterable[Item]) -> Iterable[Chain]:
    chain: list[Reply | Trouble] = []
    for item in map(_item, items):
        chain.append(item)
        if isinstance(item, Reply):
            yield tuple(chain)
            chain = []
    if chain:
        if all(
            item.kind in ("cut", "slow") or item.after is not None
            for item in chain
            if isinstance(item, Trouble)
        ):
            raise ScriptError("a cut or slow answer needs the reply after it in the script")
        yield tuple(chain)
