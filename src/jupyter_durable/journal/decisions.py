"""What can be asked of the engine, and what it can answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft, Effect, StepKind


@dataclass(slots=True)
class Call:
    """A call as it was made, before any await. `digest` is the hex digest of its arguments.

    `unwinding` says that the caller is inside an exception handler: "c" of a cancellation, "e" of
    an error that came from the steps `refs`.
    """

    kind: StepKind
    name: str
    digest: str
    effect: Effect = "retryable"
    unwinding: str = ""
    refs: tuple[tuple[int, int], ...] = ()

    def is_recorded_as(self, step: RecordedStep) -> bool:
        """Whether the journal has this call in that step."""
        return step.digest == self.digest and step.name == self.name and step.kind == self.kind


# Named tuples, because a frozen dataclass takes three times as long to make, and every call makes one.


class Replay(NamedTuple):
    """Answer with the step's recorded outcome."""

    step: RecordedStep


class Execute(NamedTuple):
    """Make the call, as attempt `attempt` of the step at `pos`.

    `first` drafts (a fork's cut) go before its start, and are due even if it is never made.
    `abandoned` are the recorded steps that a cut has just dropped. `step` is the recorded step
    when one was cut off or reopened.
    """

    scope: int
    pos: int
    attempt: int
    failures: int
    first: tuple[Draft, ...] = ()
    step: RecordedStep | None = None
    abandoned: tuple[RecordedStep, ...] = ()


class Adopt(NamedTuple):
    """Answer a pure call from `step`, which a cut abandoned, and record it as a new step at `pos`."""

    step: RecordedStep
    scope: int
    pos: int
    first: tuple[Draft, ...] = ()


class Wait(NamedTuple):
    """Not yet. `siblings`: until equal siblings have found their place; `person`: `step` is in doubt."""

    reason: Literal["siblings", "person"]
    step: RecordedStep | None = None


class Diverged(NamedTuple):
    """The code and the journal disagree: `recorded` (None: nothing) against `call` (None: nothing)."""

    recorded: RecordedStep | None
    call: Call | None
    scope: int


class Cut(NamedTuple):
    """A fork has left the recorded path: `draft` is the entry that says so, `dropped` the steps left behind."""

    dropped: tuple[RecordedStep, ...]
    draft: Draft


Decision = Replay | Execute | Adopt | Wait | Diverged
