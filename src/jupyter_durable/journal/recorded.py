"""One step and one strand as a journal has them: what `journal.index` folds entries into."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jupyter_durable.model import Effect, Entry, Payload, StepKind

ROOT = 0
"""The run itself: entries that belong to no scope, and the parent of the main scope."""
OWN = 1 << 60
"""A sequence number beyond every forebear's entries: what has it is this run's own."""
MAIN = 1
"""The scope of the cell, function or block that the run executes."""
ARGUMENTS = "arguments"
"""The action of a `decision` with which a fork makes a step with other arguments: its payload."""


class RecordedStep:
    """One step as the journal knows it. `outcome` is its checkpoint's entry, None while it is open."""

    __slots__ = (
        "again",
        "approved",
        "args",
        "asked",
        "attempts",
        "began_at",
        "began_seq",
        "chunks",
        "chunks_at",
        "digest",
        "doubtful",
        "edit",
        "effect",
        "ended_at",
        "failures",
        "history",
        "kind",
        "lapsed",
        "made",
        "mutation",
        "name",
        "notes",
        "opened_at",
        "outcome",
        "outcome_at",
        "output",
        "pos",
        "refs",
        "reopened",
        "scope",
        "seq",
        "start_at",
        "unseen",
        "unwinding",
        "wait",
    )

    def __init__(self, entry: Entry) -> None:
        meta = entry.meta
        self.scope = entry.scope
        self.pos = entry.pos
        self.seq = entry.seq
        self.kind: StepKind = meta["k"]
        self.name: str = meta["n"]
        self.digest: str = meta["d"]
        self.effect: Effect = meta.get("e", "retryable")
        self.args: Payload | None = entry.payload
        self.attempts: int = meta.get("a", 1)
        self.failures = 0
        self.outcome: Entry | None = None
        self.unseen: Entry | None = None
        self.output: list[Entry] | None = None
        self.mutation: Entry | None = None
        self.notes: list[Entry] | None = None
        self.chunks: list[Entry] | None = None  # of a stream, delivered in the present attempt
        self.reopened = False
        self.history = False
        self.doubtful = False
        self.opened_at = self.began_at = entry.at  # began: its present attempt
        self.began_seq = entry.seq
        self.ended_at: float | None = None
        # What it waits for, before its call is made (an approval) or instead of one (`journal.waits`).
        self.wait: dict[str, Any] | None = meta.get("w")
        self.asked = 0  # decisions about it that are consumed
        self.approved = -1  # the start that consumed an approval
        self.edit: Entry | None = (
            None  # that one, or a fork's decision, if it has other arguments than the call
        )
        self.again = False  # a fork has opened it: what is made now, its parent had made already
        self.lapsed = False  # it was reopened, and has not begun to wait again
        self.made = self.wait is None  # the call may have been made since the step was (re)opened
        # "c": made while a cancel was being handled; "e": while errors of the steps `refs` were.
        self.unwinding: str = meta.get("u", "")
        self.refs: list[list[int]] | None = meta.get("r")
        # Places in the replay order, filled in by `Index.events`.
        self.start_at = -1
        self.outcome_at = -1
        self.chunks_at: list[int] = []

    @property
    def id(self) -> str:
        """What people type: `scope.position`."""
        return f"{self.scope}.{self.pos}"

    @property
    def status(self) -> str:
        """The outcome's status, or "open"."""
        return "open" if self.outcome is None else str(self.outcome.meta["s"])

    def reopen(self) -> None:
        """Forget the outcome; the next attempt starts a fresh child scope."""
        self.outcome = self.unseen = self.mutation = self.output = self.ended_at = self.chunks = None
        self.failures += 1
        self.reopened = self.lapsed = True
        self.made = False

    def open_again(self, failures: int) -> None:
        """A fork goes on from the middle of it, as if it had been cut off in the attempt after so many failures."""
        self.outcome = self.unseen = self.mutation = self.output = self.ended_at = self.chunks = None
        self.failures = failures
        self.reopened = self.doubtful = False
        self.made = self.again = True

    def uncancel(self) -> None:
        """The cancellation did not come again: the step is cut off, and goes on with the children it has."""
        self.reopened = self.outcome is not None and "unmade" in self.outcome.meta
        self.made = self.made and not self.reopened
        self.outcome, self.unseen, self.doubtful = self.unseen, None, False
        if self.outcome is None:
            self.output = self.ended_at = None


class RecordedScope:
    """One strand of a run as the journal knows it. `n` is its place among siblings with the same key."""

    __slots__ = (
        "dropped",
        "ended",
        "first_seq",
        "id",
        "key",
        "n",
        "next_pos",
        "parent",
        "soft",
        "spawned_at",
        "steps",
        "sure",
        "values",
    )

    def __init__(self, number: int, parent: int, key: str, n: int, first_seq: int) -> None:
        self.id = number
        self.parent = parent
        self.key = key
        self.n = n
        self.sure = self.first_seq = first_seq  # sure: of the entry that says its place last
        self.steps: list[RecordedStep] = []
        self.next_pos = 0
        # Payloads, sealed; in journals of 0.1.0 the readings themselves.
        self.values: list[tuple[int, Payload | dict[str, list[Any]]]] = []
        self.dropped = False
        # Where its parent was when it spawned this strand: the position of its next call; the number that the next new
        # scope was to get when the last strand that it had spawned ended (0: none had); and the first of those that
        # had begun by then and not ended. So it can depend on others below that number. Unknown in journals of 0.1.0.
        self.spawned_at: Sequence[int] | None = None
        # Sequence numbers of the cuts that ended this strand's replay.
        self.ended: list[int] = []
        # A step in here was reopened: what follows may rightly differ from what was recorded.
        self.soft = False
