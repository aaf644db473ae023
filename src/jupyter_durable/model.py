"""The vocabulary as types.

Plain frozen dataclasses and literals: they are made thousands of times a second and imported by
`%load_ext`, so nothing here needs pydantic. The edges (CLI, server) validate and describe the same
types with `pydantic.TypeAdapter`.

    Run ── one durable execution; survives processes
    └── Scope ── one sequential strand: the cell, a task, a thread, the inside of an attempt
        └── Step ── one journaled call, at a position in its scope
            └── Attempt ── one try, numbered from 1
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

RunStatus = Literal["running", "waiting", "interrupted", "failed", "completed", "cancelled"]
StepStatus = Literal["running", "waiting", "in_doubt", "completed", "failed", "cancelled"]
StepKind = Literal["tool", "model", "http", "mcp", "sleep", "signal", "ask", "approval", "run"]
Effect = Literal["pure", "retryable", "unsafe"]
ForkKind = Literal["edit", "user"]
JobStatus = Literal[
    "queued",  # submitted, and nobody has begun it
    "running",
    "waiting",  # parked: for a person, a signal or a timer
    "completed",
    "failed",  # a cell raised an error
    "interrupted",
    "gave_up",  # its kernel died too often, or did not start
    "cancelled",
]

EntryType = Literal[
    "opened",  # a run begins: its name, code identity, snapshot
    "resumed",  # a process took the run up again
    "scope",  # a scope got its first entry: parent, key, occurrence
    "taken",  # recorded scopes that a fork has taken up, and which of equal siblings each is now
    "values",  # uuids, random state, clock readings handed to a scope since its last entry
    "start",  # a step's attempt is about to be made
    "chunk",  # an item of a stream, delivered before the stream's end
    "attempt",  # an attempt failed and another follows after a delay
    "output",  # stdout and displays made inside a step (or by the run), shown again on replay
    "mutation",  # arguments a tool changed in place
    "outcome",  # a step's checkpoint: completed, failed or cancelled
    "retry",  # failed steps reopened; entries made while unwinding become history
    "cut",  # a fork's scope went live here: what the parent recorded from here on is not its own
    "decision",  # an inbox row (decision, answer, signal, cancel), consumed
    "log",  # durable.log and durable.progress
    "closed",  # a process left the run: completed, failed, interrupted, waiting, cancelled
]

FINAL: frozenset[str] = frozenset({"completed", "cancelled"})
"""Run statuses that nothing resumes."""


class Chunk(NamedTuple):
    """A content-addressed piece of a value; `refs` are the digests of the chunks it is made of."""

    digest: bytes
    data: bytes
    refs: tuple[bytes, ...] = ()


class Payload(NamedTuple):
    """An encoded value: `body`, decoded by `codec`, with the chunks it refers to by index into `refs`.

    `chunks` holds the chunks that the encoder could not know to be stored already; a payload that
    was read from a store has none.
    """

    codec: str
    body: bytes
    refs: tuple[bytes, ...] = ()
    chunks: Sequence[Chunk] = ()


class Draft(NamedTuple):
    """An entry not yet appended. `meta` is JSON data; `scope` 0 is the run itself."""

    type: EntryType
    scope: int
    pos: int
    meta: Mapping[str, Any]
    payload: Payload | None = None


class Entry(NamedTuple):
    """One immutable record of a journal. `at` is POSIX seconds; `hash` chains it to the one before."""

    seq: int
    type: EntryType
    scope: int
    pos: int
    at: float
    meta: dict[str, Any]
    payload: Payload | None
    hash: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that may hold a lease. `started` (POSIX seconds) tells a reused pid from the same process."""

    host: str
    pid: int
    started: float
    label: str = ""

    def __str__(self) -> str:
        return f"{self.label or 'process'} (pid {self.pid} on {self.host})"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one run's journal. `generation` is the fencing token."""

    run_id: str
    generation: int
    owner: Owner
    expires_at: float


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run's row. Times are POSIX seconds.

    `root_id` is the first run of a chain of automatic forks: idempotency keys are made from it.
    `base_seq`/`base_hash` say up to where a fork shares `forked_from`'s journal.
    `parent_id` is the run whose step this run is (a child run).
    """

    id: str
    name: str
    status: RunStatus
    created_at: float
    updated_at: float
    notebook: str | None = None
    cell_id: str | None = None
    job_id: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    forked_from: str | None = None
    fork_kind: ForkKind | None = None
    base_seq: int = 0
    base_hash: bytes = b""
    head_seq: int = 0
    head_hash: bytes = b""
    owner: Owner | None = None
    generation: int = 0
    expires_at: float = 0.0
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job's row: one headless execution of a notebook, and who is at it. Times are POSIX seconds.

    `spec` is JSON data that stays as it is: `sealed` parameters, `options` of the runner, and `limits`, which say how many
    jobs may run at once that have the same key. Jobs of one `submit` share a `batch` (None: begun by `run`); the higher
    `priority` goes first. `due_at`: when a worker may take it (None: not before something comes for it).
    `report` is JSON data about how it ended last; `generation` counts who was at it.
    """

    id: str
    notebook: str
    output: str
    created_at: float
    updated_at: float
    status: JobStatus = "queued"
    spec: Mapping[str, Any] = field(default_factory=dict)
    batch: str | None = None
    priority: int = 0
    due_at: float | None = None
    owner: Owner | None = None
    generation: int = 0
    expires_at: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InboxItem:
    """What another process wrote for a run. `key` is unique in the run: the first row with it wins.

    kind: `decision` (approve, reject, edit, retry, supply, fail), `answer`, `signal`, `cancel`.
    """

    id: int
    run_id: str
    kind: str
    key: str
    value: Mapping[str, Any]
    payload: Payload | None
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Problem:
    """Something `verify` found: where (run, entry or chunk) and what."""

    run_id: str | None
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What `gc` deleted: ids of runs and jobs. `kept`: runs that would have gone, but that others need.

    Bytes are those in use in the store, before and after (for a dry run: about what they would be). `aside`: chunks that
    nothing refers to, put aside; `dropped`: those put aside earlier, now deleted. `file_bytes`: the size of the store's
    file afterwards, which does not shrink by itself.
    """

    runs: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    kept: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    aside: int = 0
    dropped: int = 0
    file_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run's model calls used: how many, tokens (`input` holds `cached`, `output` holds `reasoning`).

    `unpriced` is the number of those whose price is not known.
    """

    calls: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    unpriced: int = 0


@dataclass(frozen=True, slots=True)
class WaitInfo:
    """Something a run waits for, as people and programs see it: `store.waits()`.

    kind: `approval`, `ask`, `signal`, `sleep`, `doubt` (an unsafe step was cut off) or `budget`. `key` names the
    decision, of which there is one; `actions` what can be said. `prompt` is the question or the reason, `what` the
    wait as a few words, `call` the call that it is about. `schema` is the JSON schema of the answer, or of the
    arguments, which may be changed if `editable`. `ready`: it need not wait any more, once a process takes the run up:
    somebody has said something (`decided_by`), or its time has come. Times are POSIX seconds.
    """

    run: str
    run_name: str
    key: str
    kind: str
    step: str | None
    name: str
    prompt: str
    what: str
    actions: tuple[str, ...]
    since: float
    until: float | None = None
    schema: Mapping[str, Any] | None = None
    editable: bool = False
    call: str | None = None
    decided_by: str | None = None
    ready: bool = False


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A step as people see it: `store.steps()`, `show --json`, the timeline.

    `arguments`, `result` and `error` are display text (redacted, shortened). `replays` counts how
    often it was answered from the journal, `seconds` what its last attempt took (None: nobody knows,
    or it has not ended). `usage` is what a model call used: provider, model, tokens,
    finish reason, tools asked for; `cost` its price in USD, None where not known (or nothing to pay), and
    `saved` what its replays would have cost. `wait` is what it waits for, as a few words; `edited` the arguments
    that a person changed, and who; `given` who gave its outcome, where the call did not.
    """

    id: str
    scope: str
    kind: StepKind
    name: str
    status: StepStatus
    attempts: int
    arguments: str
    result: str | None
    error: str | None
    started_at: float
    ended_at: float | None
    replays: int = 0
    effect: Effect = "retryable"
    history: bool = False
    seconds: float | None = None
    usage: Mapping[str, Any] | None = None
    cost: float | None = None
    saved: float = 0.0
    wait: str | None = None
    edited: str | None = None
    given: str | None = None


@dataclass(frozen=True, slots=True)
class StepCounts:
    """How many steps of a run are in which state."""

    completed: int = 0
    running: int = 0
    waiting: int = 0
    in_doubt: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as people see it: `store.runs()`, `ls --json`.

    `cost` (USD) and `usage` are the run's own, not those of the run it was forked from; `saved` is what
    answering from the journal saved.
    """

    id: str
    name: str
    status: RunStatus
    notebook: str | None
    cell_id: str | None
    created_at: float
    updated_at: float
    steps: StepCounts
    parent_id: str | None
    forked_at: int | None
    usage: Usage = Usage()
    cost: float = 0.0
    saved: float = 0.0


_last_ms = 0
_uuid_lock = threading.Lock()


def new_id(now: float, *, entropy: Iterable[int] | None = None) -> str:
    """A UUIDv7 (RFC 9562, section 5.7) for POSIX time `now`; ids made later sort later.

    >>> new_id(0.0) < new_id(1.0)
    True
    """
    global _last_ms
    with _uuid_lock:
        _last_ms = max(int(now * 1000), _last_ms + 1) if now > 1 else int(now * 1000)
        ms = _last_ms
    tail = int.from_bytes(bytes(entropy) if entropy is not None else os.urandom(10), "big")
    value = (ms & ((1 << 48) - 1)) << 80 | tail
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
