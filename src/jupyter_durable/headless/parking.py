"""What a parked job waits for, and whether it need not any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jupyter_durable.headless.job import runs_of
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import FINAL, WaitInfo

BESIDE = 2.0
"""Seconds after which a job is looked at again whose run somebody else advances (a notebook, say)."""


@dataclass(frozen=True, slots=True)
class Parked:
    """What the runs of a job wait for. `until`: when the first wait ends by itself, in POSIX seconds.

    `ready`: something has come, or nothing waits any more; `beside`: another process advances one of the runs.
    """

    waits: tuple[WaitInfo, ...] = ()
    until: float | None = None
    ready: bool = True
    beside: str = ""

    @property
    def run(self) -> str | None:
        """The run that waits (the first, of several)."""
        return self.waits[0].run if self.waits else None

    @property
    def what(self) -> str:
        """What it waits for, as a few words.

        >>> Parked().what
        ''
        """
        return "; ".join(dict.fromkeys(wait.what for wait in self.waits))

    def as_json(self) -> dict[str, Any]:
        """What a report says of it."""
        return {
            "run": self.run,
            "for": self.what,
            "until": self.until,
            "waits": [asdict(wait) for wait in self.waits],
        }


def parked(store: JournalStore, job_id: str) -> Parked:
    """What a job waits for now."""
    from jupyter_durable.session import Store

    reader = Store(store)
    found: list[WaitInfo] = []
    beside = ""
    for run in _current(store, job_id):
        if reader._session.held_elsewhere(run):
            beside = str(run.owner)
        found += reader.waits(run.id)
    times = [wait.until for wait in found if wait.until is not None]
    ready = not found or any(wait.ready for wait in found)
    return Parked(tuple(found), min(times, default=None), ready, beside)


def _current(store: JournalStore, job_id: str) -> Sequence[Any]:
    """The runs of a job that are not over, and that no other goes on with."""
    found = runs_of(store, job_id)
    left = {run.forked_from for run in found if run.fork_kind == "edit"}
    return [run for run in reversed(found) if run.status not in FINAL and run.id not in left]
