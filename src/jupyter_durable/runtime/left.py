"""A stream that was left before its end when it was recorded, and whose consumer asks for more now.

Why, there are four answers: it was stopped by a timer, which will go off again; its process was ended by an error or an interrupt, which
closed it; its code was edited and reads further; or the code does what it did not do then, which is a divergence.
"""

from __future__ import annotations

from jupyter_durable.journal.index import RecordedStep
from jupyter_durable.model import Draft
from jupyter_durable.runtime.context import Scope
from jupyter_durable.runtime.run import LiveRun


def left_after(recorded: RecordedStep) -> float | None:
    """If it was left before its end: the seconds that passed between its last chunk and that."""
    outcome, chunks = recorded.outcome, recorded.chunks
    if outcome is None or not chunks or not outcome.meta.get("closed"):
        return None
    return outcome.at - chunks[-1].at


def is_edited(run: LiveRun, recorded: RecordedStep) -> bool:
    """Whether it was left by code that has been edited since: by what this run has from its parent."""
    outcome = recorded.outcome
    return (
        outcome is not None
        and bool(outcome.meta.get("closed"))
        and run.engine.soft
        and run.lease is not None
        and not run.closed
        and outcome.seq <= run.record.base_seq
    )


def breaks_off(run: LiveRun, recorded: RecordedStep) -> bool:
    """Whether it breaks where it was left: nothing can be added to it, but it can be asked for again."""
    goes_on = run.lease is not None and not run.closed
    return is_edited(run, recorded) or (goes_on and run.index.broke_off(recorded))


def cut(scope: Scope, since: int) -> Draft:
    """What was recorded of the strand after that entry came of reading no further: it counts no more."""
    run = scope.run
    with run.lock:
        dropped, draft = run.engine.cut(scope.state, since=since)
    scope.forget_readings(cut=True)
    run.abandoned(dropped)
    return draft
