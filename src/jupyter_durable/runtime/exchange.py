"""An HTTP exchange as a step: what the sync and async shells (`runtime.exchanges`) share.

A transport says what it is about to send (`Ask`) and how to send it; what comes back is recorded as raw
bytes with their borders, and given back the same way on replay. Nothing in here knows an HTTP library.

    Head, Ask ── an exchange as its transport describes it
    Exchange ─── one exchange being answered: a step whose outcome is a response
    Exchanges ── those of a run that are not settled: open streams, failed attempts

In the journal, a response that is small and complete is one outcome entry:

    outcome {"s": "completed"}          {"head": {...}, "body": b"..."}

and any other a row of chunk entries, in the order in which all chunks of the run were delivered:

    chunk   {"i": 0}                    {"status": 200, "reason": "OK", "version": "HTTP/1.1", "headers": [...]}
    chunk   {"i": 1, "z": [5, 7], "t": [12, 40]}    the bytes of two chunks, that came 12 and 40 ms after the head
    outcome {"s": "completed", "n": 3}  None    ("closed": its consumer closed it before its end)

A response with a status of 400 or more is an outcome `failed`, which replays as that response. An error of the
transport and a response that asks to try again (408, 409, 429, 5xx) are attempts: they reach the caller, and
the same call made again in the same strand is the next attempt of the same step. Only if the strand goes on
with something else, the last of them becomes the step's outcome (it was *given up*).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from jupyter_durable.errors import DivergenceError, EncodingError
from jupyter_durable.journal.engine import Decision, Diverged, Execute, LiveScope, Replay
from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft, Payload
from jupyter_durable.runtime.context import SCOPE, Attempt, Scope, current_scope
from jupyter_durable.runtime.effects import quiet
from jupyter_durable.runtime.kill_points import kill_point
from jupyter_durable.runtime.origins import mark
from jupyter_durable.runtime.pieces import Pieces
from jupyter_durable.runtime.run import LiveRun
from jupyter_durable.runtime.step import Spec, Step

Headers = tuple[tuple[bytes, bytes], ...]

WHOLE = 1_000_000
"""Bytes up to which a response whose length is known is read before it is handed on."""

_LIVE_TYPES = (b"event-stream", b"ndjson", b"json-seq", b"jsonl", b"x-ndjson", b"amazon.eventstream")


# -- what a transport says -------------------------------------------------------------------------------


class Head(NamedTuple):
    """The beginning of a response. Names and values of headers are as they came, in their order."""

    status: int
    reason: str = ""
    headers: Headers = ()
    version: str = "HTTP/1.1"

    def get(self, name: bytes) -> bytes | None:
        """The first header of that name (lower case)."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def __str__(self) -> str:
        return f"HTTP {self.status} {self.reason}".rstrip()


class Described(Protocol):
    """What is known about an exchange before it is made.

    `identity` is what the digest covers, `shown` what people see as its arguments (a mapping shows
    like keyword arguments).
    """

    @property
    def kind(self) -> Literal["model", "http"]: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def identity(self) -> Any: ...  # noqa: D102
    @property
    def shown(self) -> Any: ...  # noqa: D102


class Reader(Protocol):
    """Reads a response's bytes as they pass. Must not raise."""

    def feed(self, data: bytes) -> None:
        """More of them."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the format's own last event has come."""
        ...

    def summary(self) -> Mapping[str, Any] | None:
        """JSON data about it: tokens, finish reason; kept with the outcome as `"m"`."""
        ...


class Source(Protocol):
    """A live response: `head`, its bytes as they arrive (undecoded), and `close`, which may come early."""

    @property
    def head(self) -> Head: ...  # noqa: D102

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...  # noqa: D102


class AsyncSource(Protocol):
    """The same for coroutines."""

    @property
    def head(self) -> Head: ...  # noqa: D102

    def __aiter__(self) -> Any: ...

    async def aclose(self) -> None: ...  # noqa: D102


def retryable(head: Head) -> bool:
    """Whether the response asks to try again, as SDKs understand it."""
    return head.status in (408, 409, 429) or head.status >= 500


@dataclass(slots=True)
class Ask:
    """An exchange about to be made.

    `method`: upper case. `reader(head)` makes what reads the response. `again`: whether the sender says
    that this repeats a call that failed (`x-stainless-retry-count`); None: it does not say.
    `cut_off(text)` makes the transport's own error for a connection that breaks. `retryable`: which
    responses are attempts. `secret(name, value)`: whether a response's header must be sealed.
    """

    described: Described
    method: str
    reader: Callable[[Head], Reader | None] = lambda head: None
    again: bool | None = None
    cut_off: Callable[[str], Exception] = ConnectionError
    retryable: Callable[[Head], bool] = retryable
    secret: Callable[[str, str], bool] = lambda name, value: name.lower() == "set-cookie"


def retries(header: Callable[[str], str | None]) -> bool | None:
    """What a request's headers say for `Ask.again`. `header(name)` gives the value of one.

    >>> retries({"x-stainless-retry-count": "1"}.get)
    True
    """
    count = header("x-stainless-retry-count")
    if count is not None and count.isdigit():
        return int(count) > 0
    for part in (header("amz-sdk-request") or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "attempt" and value.isdigit():
            return int(value) > 1
    return None


# -- whether ---------------------------------------------------------------------------------------------

_passing: ContextVar[bool] = ContextVar("jupyter_durable_passing", default=False)
_COVERED = frozenset({"http", "model", "mcp"})


@contextlib.contextmanager
def passing() -> Iterator[None]:
    """Exchanges in here are nobody's step, and nothing that the effects watch would notice."""
    token = _passing.set(True)
    try:
        with quiet():
            yield
    finally:
        _passing.reset(token)


def capturing() -> Scope | None:
    """The scope that an exchange made here would be a step of; None: let it pass untouched.

    That is so outside durable runs, below an exchange that is a step already, and in a task that
    outlived its run (which gets a notice).
    """
    scope = SCOPE.get()
    if scope is None or _passing.get():
        return None
    attempt = scope.attempt
    if attempt is not None and attempt.kind in _COVERED:
        return None
    run = scope.run
    if run.closed:
        run.notice(
            f"run {run.name!r} has ended, and a task or thread that outlived it makes HTTP requests: they are not journaled"
        )
        return None
    return current_scope()


def wanted(scope: Scope, described: Described) -> bool:
    """Whether that exchange becomes a step: captured in this run, and not covered by the outcome of the step around it."""
    if described.kind == "model":
        return "models" in scope.run.options.capture
    return scope.attempt is None and "http" in scope.run.options.capture


# -- values ----------------------------------------------------------------------------------------------


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
def _without_requests(error: BaseException) -> Iterator[None]:
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


def whole(ask: Ask, head: Head) -> bool:
    """Whether the body is read before the response is handed on: it is known to be small, or an error's."""
    if ask.method == "HEAD" or head.status in (204, 304) or head.status >= 400:
        return True
    length = head.get(b"content-length")
    if length is None or not length.isdigit() or int(length) > WHOLE:
        return False
    kind = (head.get(b"content-type") or b"").lower()
    return not any(live in kind for live in _LIVE_TYPES)


# -- one exchange ----------------------------------------------------------------------------------------


class Exchange(Step):
    """One exchange being answered. The shells drive it."""

    __slots__ = (
        "ask",
        "before",
        "count",
        "ended",
        "exchanges",
        "head",
        "reader",
        "result",
        "siblings",
        "since",
    )

    def __init__(self, scope: Scope, ask: Ask) -> None:
        described = ask.described
        super().__init__(scope, Spec(described.name, kind=described.kind), (described.identity,), {})
        shown = described.shown
        # The digest is made; from here on arguments are what people see.
        named = isinstance(shown, dict) and all(type(key) is str for key in shown)
        self.args, self.kwargs = ((), shown) if named else ((shown,), {})
        self.text = None
        self.fixed = True
        self.ask = ask
        self.exchanges = _exchanges(self.run)
        self.before: Exchange | None = None  # the failed attempt that this one follows
        self.result: tuple[str, Payload] | None = None
        self.siblings: dict[str, int] = {}
        self.head: Head | None = None
        self.reader: Reader | None = None
        self.count = 0  # chunks delivered, the head among them
        self.since = 0.0
        self.ended = False

    @property
    def place(self) -> tuple[str, int, int]:
        """Run, scope and position, for `mark`."""
        return self.run.id, self.decision.scope, self.decision.pos

    # -- deciding --------------------------------------------------------------------------------

    def first_decision(self) -> Decision:
        """The next attempt of a step that has just failed; one recorded attempt more; or what the journal says."""
        before = self.exchanges.follows(self)
        if before is not None:
            self.before = before
            self.failures = before.failures
            was = before.decision
            return Execute(was.scope, was.pos, was.attempt + 1, self.failures, (), was.step)
        recorded = self.exchanges.answers_again(self)
        return Replay(recorded) if recorded is not None else self.decide()

    def recorded(self, decision: Decision) -> RecordedStep | None:
        """The recorded exchange to give back; None: make it."""
        if isinstance(decision, Replay):
            step = decision.step
            self.decision = Execute(step.scope, step.pos, step.attempts, step.failures, (), step)
            return step
        if isinstance(decision, Execute) and decision.step is not None and self.before is None:
            step = decision.step
            self.decision = decision
            return step if step.chunks and self.run.index.delivers_again(step) else None
        return None

    def issues_anew(self, recorded: RecordedStep) -> Execute | None:
        """A stream that was left unread when the code failed, and has been edited: nothing depends on it yet."""
        outcome = recorded.outcome
        if outcome is None or not outcome.meta.get("closed") or not self.run.engine.soft:
            return None
        if self.run.index.acted_on(recorded):
            return None
        self.closed_again(recorded)
        return Execute(recorded.scope, recorded.pos, recorded.attempts + 1, recorded.failures, (), recorded)

    # -- replaying -------------------------------------------------------------------------------

    def give_back(self, recorded: RecordedStep) -> tuple[Head, bytes]:
        """The whole response that was recorded, or its error, raised."""
        value = self.deliver(recorded)
        self.exchanges.answered(self, recorded)
        head, body = decode_head(value["head"]), value["body"]
        if recorded.status == "failed" and self.ask.retryable(head):
            # The sender gave up then: it need not wait to find that out again.
            head = head._replace(headers=(*_without_delays(head.headers), *_GIVE_UP))
        return head, body

    def deliver(self, step: RecordedStep) -> Any:
        """What the outcome holds: a response, or an error, raised."""
        run = self.run
        run.stats.replayed += 1
        outcome = step.outcome
        assert outcome is not None
        self.draw_again(step)
        value = run.decode(outcome.payload, outcome.seq)
        if isinstance(value, BaseException):
            self.exchanges.answered(self, step)
            mark(value, run.id, step.scope, step.pos)
            raise value
        return value

    def head_again(self, recorded: RecordedStep) -> Head:
        """The head of a stream. It counts as replayed from here on."""
        run = self.run
        run.stats.replayed += 1
        self.draw_again(recorded)
        assert recorded.chunks
        entry = recorded.chunks[0]
        return decode_head(run.decode(entry.payload, entry.seq))

    def draw_again(self, recorded: RecordedStep) -> None:
        """The global generators are what they were when this was handed on."""
        run, strand = self.run, self.scope.state.recorded
        if run.random is not None and strand is not None and strand.values:
            run.random.replayed(run.values_of(self.scope), recorded.pos)

    def pace(self) -> Callable[[float], float] | None:
        """How long to wait before a chunk that came so many seconds after the head; None: never."""
        run = self.run
        if not run.options.pace:
            return None
        began = run.clock.monotonic()
        return lambda at: began + at - run.clock.monotonic()

    def last_again(self, recorded: RecordedStep) -> None:
        """The last chunk that was delivered is about to be again: if nobody asked for more then, nobody waits for it."""
        outcome = recorded.outcome
        if outcome is not None and ("left" in outcome.meta or "closed" in outcome.meta):
            self.closed_again(recorded)

    def end_again(self, recorded: RecordedStep) -> None:
        """A stream that was read to its end ends: as then, maybe by an error, which is raised."""
        outcome = recorded.outcome
        if outcome is None or outcome.meta["s"] != "failed":
            return
        value = self.run.decode(outcome.payload, outcome.seq)
        self.exchanges.answered(self, recorded)
        mark(value, self.run.id, recorded.scope, recorded.pos)
        raise value

    def pieces(self, recorded: RecordedStep) -> Iterator[tuple[int, list[bytes], list[float]]]:
        """What followed the head: place in the order of the replay, chunks, when they came (seconds after the head)."""
        for place, entry in zip(recorded.chunks_at[1:], (recorded.chunks or ())[1:], strict=False):
            yield place, *split(self.run.decode(entry.payload, entry.seq), entry.meta)

    def closed_again(self, recorded: RecordedStep) -> None:
        """The consumer wants no more of it: nobody need wait for what is left."""
        run = self.run
        with run.lock:
            run.engine.order.drop(recorded)
            run.turns.changed()
        if recorded.outcome is None and run.lease is not None:  # the crash came before it was left
            self.count = delivered(recorded)
            run.writer.put([self.outcome("completed", closed=True)])

    def past_end(self, recorded: RecordedStep) -> None:
        """The consumer asks for more than was recorded. Raises `DivergenceError` if it had stopped there."""
        meta = recorded.outcome.meta if recorded.outcome is not None else {}
        if meta.get("closed"):
            raise DivergenceError(
                f"{self.spec.name}: this response was read up to chunk {meta.get('n')} and left when it was "
                "recorded, and is read further now",
                hint=f"%durable fork {self.run.id[:13]} --at {recorded.id}",
            )

    def broken(self, recorded: RecordedStep) -> tuple[Exception | None, list[Draft]]:
        """How a prefix ends, whose connection the crash cut: in an error, if its last event had not come."""
        run = self.run
        entries = recorded.chunks or []
        self.count = delivered(recorded)
        reader = self.ask.reader(decode_head(run.decode(entries[0].payload, entries[0].seq)))
        if reader is not None:
            for entry in entries[1:]:
                reader.feed(run.decode(entry.payload, entry.seq))
            if reader.finished:
                self.reader = reader
                return None, [self.outcome("completed", left=True)]
        error = self.ask.cut_off(
            f"the connection was cut off after {self.count - 1} chunks when this was recorded"
        )
        mark(error, run.id, recorded.scope, recorded.pos)
        text = f"{type(error).__name__}: {error}"
        return error, [self.outcome("failed", self.encode_error(error), x=text)]

    # -- executing -------------------------------------------------------------------------------

    def start(self) -> tuple[Draft, ...]:
        """The entries that precede an attempt; one that follows a failed one continues its step."""
        watch = self.before.watch if self.before is not None else None
        drafts = super().start()
        self.exchanges.follow(self)
        if watch is not None:  # what drew since the first attempt belongs to this step
            self.watch = watch
        return drafts

    def enter(self) -> None:
        """The start is committed; nothing was sent."""
        kill_point("after-start")
        run, decision = self.run, self.decision
        run.stats.executed += 1
        inner = run.inner_scope(self.scope, decision)
        inner.attempt = Attempt(self.spec.kind, decision.scope, decision.pos, decision.attempt)
        self.inner = inner
        self.left = None

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The transport works: other transports below it pass."""
        inner = self.inner
        inner.owner = None  # whoever reads, it is that one's turn
        token = SCOPE.set(inner)
        try:
            yield
        finally:
            SCOPE.reset(token)

    def leave(self, *, clean: bool) -> list[Draft]:
        """The transport is done. May be repeated."""
        if self.left is None:
            self.left = []
            run = self.run
            if run.index.children or self.inner.state.replaying:
                with run.lock:
                    run.engine.end(self.inner.state, clean=clean)
        return self.left

    def answered(self, head: Head, body: bytes) -> tuple[list[Draft], bool]:
        """The entries of a whole response, and whether it is only an attempt."""
        payload = self.run.encode(
            {"head": encode_head(head, self.ask.secret), "body": body}, f"the response of {self.spec.name}"
        )
        if self.ask.retryable(head):
            return self.attempt(str(head), payload), True
        kill_point("after-call")
        self.leave(clean=True)
        self.read(head, body)
        if head.status >= 400:
            return [self.outcome("failed", payload, x=str(head))], False
        return [self.outcome("completed", payload)], False

    def read(self, head: Head, body: bytes = b"") -> None:
        """Have the response read."""
        self.reader = self.ask.reader(head)
        if self.reader is not None and body:
            self.reader.feed(body)

    def raised(self, error: Exception) -> list[Draft]:
        """The entries of an attempt whose transport raised."""
        payload = self.encode_error(error)
        drafts = self.attempt(f"{type(error).__name__}: {error}"[:500], payload)
        mark(error, self.run.id, self.decision.scope, self.decision.pos)
        return drafts

    def encode_error(self, error: Exception) -> Payload:
        """An error without the request it may hold."""
        run = self.run
        with _without_requests(error):
            try:
                return run.encode(error, f"the error of {self.spec.name}")
            except EncodingError:
                return run.encode(self.ask.cut_off(f"{type(error).__name__}: {error}"), "an error")

    def attempt(self, text: str, payload: Payload) -> list[Draft]:
        """The entries of a failed attempt; another may follow."""
        kill_point("after-call")
        self.exchanges.open.pop(self, None)
        self.leave(clean=False)
        self.ended = True
        self.failures += 1
        self.result = text, payload
        decision = self.decision
        return [Draft("attempt", decision.scope, decision.pos, {"x": text, "w": 0.0})]

    def failed_now(self) -> None:
        """The attempt is committed and about to be handed to the caller."""
        self.siblings = dict(self.scope.state.counts)
        self.exchanges.failed(self)
        kill_point("after-attempt")

    def given_up(self) -> list[Draft]:
        """No attempt follows: the last one is the outcome."""
        assert self.result is not None
        text, payload = self.result
        self.result = None
        return [self.outcome("failed", payload, x=text)]

    def outcome(self, status: str, payload: Payload | None = None, **more: Any) -> Draft:
        """The checkpoint, with what the reader has found."""
        self.ended = True
        if self.count:
            more["n"] = self.count
        if self.reader is not None and status != "cancelled" and (found := self.reader.summary()):
            more["m"] = dict(found)
        return super().outcome(status, payload, **more)

    def delivered(self) -> None:
        """The outcome is committed and about to be handed to the caller."""
        super().delivered()
        self.watch = None

    # -- executing: a stream -----------------------------------------------------------------------

    def began(self, head: Head) -> None:
        """The head of a stream is about to be handed on."""
        run, decision = self.run, self.decision
        self.head = head
        self.read(head)
        self.since = run.clock.monotonic()
        payload = run.encode(encode_head(head, self.ask.secret), f"the response of {self.spec.name}")
        run.writer.put([Draft("chunk", decision.scope, decision.pos, {"i": 0}, payload)])
        self.count = 1
        self.exchanges.open[self] = None
        if self.watch is not None and run.random is not None:
            run.random.after_step(run.values_of(self.scope), decision.pos, self.watch)
            self.watch = None
        kill_point("after-chunk")

    def arrived(self, data: bytes) -> None:
        """A chunk is about to be handed on."""
        if self.ended:  # after its last event, which the consumer took for its end
            return
        self.exchanges.put(self, data)
        self.count += 1
        if self.reader is not None:
            self.reader.feed(data)
        kill_point("after-chunk")

    @property
    def finished(self) -> bool:
        """Whether the format's own last event has passed."""
        return self.reader is not None and self.reader.finished

    def exhausted(self) -> list[Draft]:
        """The entries of a stream that came to its end."""
        self.exchanges.open.pop(self, None)
        kill_point("after-call")
        self.leave(clean=True)
        return [] if self.ended else [self.outcome("completed")]

    def closed(self, *, left: bool = False) -> list[Draft]:
        """The entries of a stream that is closed, or (`left`) that nobody closes: its consumer has gone on."""
        self.exchanges.open.pop(self, None)
        self.leave(clean=True)
        if self.ended:
            return []
        more: dict[str, Any] = {"left": True} if left else {}
        if not self.finished:
            more["closed"] = True
        return [self.outcome("completed", **more)]

    def abandon(self) -> None:
        """The caller is being interrupted: the step stays open."""
        self.exchanges.open.pop(self, None)
        super().abandon()
        self.ended = True

    def cancelled(self) -> None:
        """The caller was cancelled; see `Step.cancelled`."""
        self.exchanges.open.pop(self, None)
        super().cancelled()


_GIVE_UP = ((b"retry-after-ms", b"1"), (b"x-should-retry", b"false"))


def _without_delays(headers: Headers) -> Headers:
    return tuple(
        h for h in headers if h[0].lower() not in (b"retry-after", b"retry-after-ms", b"x-should-retry")
    )


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


# -- those of a run --------------------------------------------------------------------------------------


class _Answered(NamedTuple):
    recorded: RecordedStep
    left: int
    cursor: int
    pos: int


class Exchanges:
    """The exchanges of a run that are not settled; `LiveRun.exchanges`, once there is one."""

    def __init__(self, run: LiveRun) -> None:
        self.run = run
        self.open: dict[Exchange, None] = {}
        self._failed: dict[LiveScope, Exchange] = {}
        self._left: list[Exchange] = []  # failed, of strands that have ended by it
        self._answered: dict[LiveScope, _Answered] = {}
        self._tail: Pieces | None = None

    # -- chunks ------------------------------------------------------------------------------------

    def put(self, step: Exchange, data: bytes) -> None:
        """Queue a chunk, with those delivered before it as long as nothing else was queued since."""
        run, tail = self.run, self._tail
        ms = round((run.clock.monotonic() - step.since) * 1000)
        if tail is None or tail.owner is not step or run.writer.tail() is not tail or not tail.add(data, ms):
            decision = step.decision
            what = f"the response of {step.spec.name}"
            tail = Pieces(
                step, decision.scope, decision.pos, step.count, lambda value: run.encode(value, what)
            )
            tail.add(data, ms)
            self._tail = tail
            run.writer.put(tail)

    # -- failed attempts ---------------------------------------------------------------------------

    def failed(self, step: Exchange) -> None:
        """An attempt failed; its caller may try again."""
        with self.run.lock:
            self._failed[step.scope.state] = step

    def follows(self, step: Exchange) -> Exchange | None:
        """The failed attempt that `step` repeats."""
        before = self._failed.get(step.scope.state)
        if before is None or step.ask.again is False or _other(before, step):
            return None
        return before

    def follow(self, step: Exchange) -> None:
        """The next attempt has been started."""
        if step.before is not None:
            with self.run.lock:
                if self._failed.get(step.scope.state) is step.before:
                    del self._failed[step.scope.state]
            step.before = None

    def before_start(self, step: Step) -> list[Draft]:
        """What must be in the journal before `step` starts: what its strand, or one above, has given up or left."""
        if not (self._failed or self._left or self.open):
            return []
        drafts: list[Draft] = []
        with self.run.lock:
            for failure in self._left:
                drafts += failure.given_up()
            self._left.clear()
            if self._failed:
                drafts += self._given_up_above(step)
            for stream in [s for s in self.open if s.finished]:
                if stream.scope is step.scope or stream.scope.state.state == "ended":
                    drafts += stream.closed(left=True)
        return drafts

    def _given_up_above(self, step: Step) -> list[Draft]:
        drafts: list[Draft] = []
        following = step.before if isinstance(step, Exchange) else None
        below, state = None, step.scope.state
        while state is not None:
            failure = self._failed.get(state)
            # A strand spawned before the failure does not say that its parent has gone on.
            if (
                failure is not None
                and failure is not following
                and (below is None or below.index >= failure.siblings.get(below.key, 0))
            ):
                del self._failed[state]
                drafts += failure.given_up()
            below, state = state, state.parent  # type: ignore[assignment]
        return drafts

    def scope_ended(self, scope: Scope, *, clean: bool) -> None:
        """A strand is over."""
        failure = self._failed.pop(scope.state, None)
        self._answered.pop(scope.state, None)
        if failure is None:
            return
        owner = scope.owner
        if clean:
            self.run.writer.put(failure.given_up())
        elif hasattr(owner, "cancelled") and owner.cancelled():  # while its sender waited to try again
            self.run.writer.put([failure.outcome("cancelled")])
        else:  # if the run goes on, it was given up; if the run ends by this, it is tried again
            self._left.append(failure)

    def run_ended(self, *, clean: bool) -> list[Draft]:
        """The run's code is over. `clean`: not by an error, which would leave open what was under way."""
        drafts: list[Draft] = []
        with self.run.lock:
            for stream in [*self.open]:
                if clean or stream.finished:
                    drafts += stream.closed(left=True)
            if clean:
                for failure in (*self._left, *self._failed.values()):
                    if failure.scope.attempt is None:
                        drafts += failure.given_up()
        return drafts

    # -- answering again ---------------------------------------------------------------------------

    def answered(self, step: Exchange, recorded: RecordedStep) -> None:
        """A recorded outcome was given back: it also answers the further attempts that were made then."""
        state = step.scope.state
        known = self._answered.get(state)
        if known is not None and known.recorded is recorded:
            self._answered[state] = known._replace(left=known.left - 1)
            return
        left = recorded.failures - (recorded.status == "failed")
        if left > 0:
            self._answered[state] = _Answered(recorded, left, state.cursor, state.next_pos)

    def answers_again(self, step: Exchange) -> RecordedStep | None:
        """The recorded step that `step` is one more attempt of.

        A success answers the first call, and so mostly there is none. Code that did not mind that the
        first failed makes them all again, as it did then.
        """
        state, call = step.scope.state, step.call
        known = self._answered.get(state)
        if known is None or known.left <= 0 or step.ask.again is False:
            return None
        if (state.cursor, state.next_pos) != (known.cursor, known.pos):
            return None
        was = known.recorded
        if (was.kind, was.name, was.digest) != (call.kind, call.name, call.digest):
            return None
        following = state.steps[state.cursor] if state.replaying else None
        if step.ask.again or was.status == "failed":
            return was
        if following is None or (following.kind, following.name, following.digest) == (
            call.kind,
            call.name,
            call.digest,
        ):
            return None
        return was


def _other(one: Exchange, another: Exchange) -> bool:
    a, b = one.call, another.call
    return (a.kind, a.name, a.digest) != (b.kind, b.name, b.digest)


def _exchanges(run: LiveRun) -> Exchanges:
    found = run.exchanges
    if found is None:
        with run.lock:
            found = run.exchanges = run.exchanges or Exchanges(run)
    assert isinstance(found, Exchanges)
    return found


def execute(decision: Decision, step: Exchange) -> Execute:
    """The decision to make the exchange. Raises `DivergenceError`."""
    if isinstance(decision, Diverged):
        raise step.run.divergence(decision, (step.args, step.kwargs))
    assert isinstance(decision, Execute)
    return decision
