"""Which run a durable cell belongs to: the table of the design, as one total function.

`choose(situation)` looks at nothing but the frozen `Situation` and returns exactly one of

    New       a run of its own
    Resume    go on with the run (`as_edit`: captured inputs differ, and what depends on them runs again)
    Restore   replay a finished run without a single live call
    Fork      a new run based on the old one's journal: code or inputs were edited
    Refuse    an error that says why and what to type instead

`notice` is one line for a person, empty where there is nothing to say.

>>> choose(Situation(status="interrupted", run="research-7f3a"))
Resume(notice='resuming research-7f3a', as_edit=False)
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

from jupyter_durable.errors import DurableError, LeaseHeldError, RunNotFoundError
from jupyter_durable.model import RunStatus

Flag = Literal["new", "resume", "replay"]


@dataclass(frozen=True)
class Situation:
    """What is known when a durable cell starts. The run meant is the newest of its name, or the one a flag names.

    status: the run's status, None if there is no such run.
    run: how notices and hints call it (an id that the command line accepts).
    name: the `%%durable` name.
    age: seconds since the run was last written.
    owner: the process that holds the run's lease, described; used only with `owner_alive`.
    owner_alive: another process is alive and holds it.
    running_here: this kernel process is executing it right now (another cell of the same name).
    executed_here: this kernel process executed it (not: replayed or restored it).
    interactive: a person can be asked (stdin allowed, or a Jupyter session, and not our runner).
    same_code: code identity is equal (`changed_code` names what is not).
    differing: names of captured inputs whose values differ now.
    flag: what the user said outright.
    job_restart: our runner restarted the kernel inside one job and resumes by run id.
    """

    status: RunStatus | None = None
    run: str = ""
    name: str = ""
    age: float = 0.0
    owner: str = ""
    owner_alive: bool = False
    running_here: bool = False
    executed_here: bool = False
    interactive: bool = True
    same_code: bool = True
    changed_code: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    flag: Flag | None = None
    job_restart: bool = False

    @property
    def same_inputs(self) -> bool:
        """Whether no captured input differs."""
        return not self.differing


@dataclass(frozen=True)
class New:
    """Start a run of its own."""

    notice: str = ""


@dataclass(frozen=True)
class Resume:
    """Go on with the run. `as_edit`: its inputs differ now, so entries that no longer match end their scope's replay."""

    notice: str = ""
    as_edit: bool = False


@dataclass(frozen=True)
class Restore:
    """Replay the finished run; a call it does not hold is an error, never a live call."""

    notice: str = ""


@dataclass(frozen=True)
class Fork:
    """Start a run that replays the old one's journal as far as it still matches."""

    notice: str = ""


@dataclass(frozen=True)
class Refuse:
    """Raise `error`."""

    error: DurableError


Decision = New | Resume | Restore | Fork | Refuse


def ago(seconds: float) -> str:
    """A duration as people say it, in the past.

    >>> ago(7300), ago(30)
    ('2 h ago', '30 s ago')
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return shown or "its code"


def _command(s: Situation, flags: str = "") -> str:
    return " ".join(filter(None, ("%%durable", s.name and shlex.quote(s.name), flags)))


def choose(s: Situation) -> Decision:
    """The decision for this situation; total: every situation has one. Never raises."""
    if s.flag == "new":
        return New(f"new run; {s.run} is left as it is ({s.status})" if s.status else "")
    if s.status is None:
        return _absent(s)
    if s.flag == "replay":
        return _replay(s)
    if s.running_here:
        error = LeaseHeldError(
            f"{s.run} is being executed by this kernel already",
            owner=s.owner,
            hint=f"two live cells cannot share a name: give this one another ({_command(s)}-2), or wait for the other",
        )
        return Refuse(error)
    if s.status == "completed":
        return _completed(s)
    if s.status == "cancelled":
        return _cancelled(s)
    if s.owner_alive:
        error = LeaseHeldError(
            f"{s.run} is being advanced by {s.owner or 'another process'}",
            owner=s.owner,
            hint=f"wait for it, stop it, or start another run: {_command(s, '--new')}",
        )
        return Refuse(error)
    return _unfinished(s)


def _absent(s: Situation) -> Decision:
    if s.flag is None:
        return New()
    error = RunNotFoundError(
        f"no run {s.run or s.name} to {s.flag}",
        hint="`%durable list` shows the runs of this store; leave the flag away to start one",
    )
    return Refuse(error)


def _replay(s: Situation) -> Decision:
    if s.status in ("completed", "failed"):
        return Restore(f"replaying {s.run} from {ago(s.age)}; nothing is executed")
    error = DurableError(
        f"{s.run} is {s.status}: it has no end to replay to",
        hint=f"continue it with {_command(s, f'--resume {s.run}')}, "
        f"or look at its steps so far with %durable goto {s.run} STEP",
    )
    return Refuse(error)


def _cancelled(s: Situation) -> Decision:
    if s.flag is None and not s.job_restart:
        return New(f"new run; {s.run} was cancelled {ago(s.age)}")
    error = DurableError(
        f"{s.run} was cancelled, and nothing resumes a cancelled run",
        hint=f"start another with {_command(s, '--new')}, or base one on it with %durable fork {s.run}",
    )
    return Refuse(error)


def _unfinished(s: Situation) -> Decision:
    if s.job_restart or not s.differing:
        if not s.same_code:
            return Fork(f"forking {s.run}: {_names(s.changed_code)} changed")
        return Resume(f"resuming {s.run}")
    if not s.interactive and s.flag is None:
        return New(
            f"new run: {_names(s.differing)} differ{'s' if len(s.differing) == 1 else ''} from unfinished {s.run}; "
            f"{_command(s, f'--resume {s.run}')} continues that one"
        )
    if not s.same_code:
        return Fork(f"forking {s.run}: {_names((*s.changed_code, *s.differing))} changed")
    return Resume(f"resuming {s.run} as an edit: {_names(s.differing)} changed", as_edit=True)


def _completed(s: Situation) -> Decision:
    restored = Restore(f"restored from {s.run}, {ago(s.age)}; --new runs it again")
    if s.job_restart:
        return restored if s.same_code else Fork(f"forking {s.run}: {_names(s.changed_code)} changed")
    if s.flag is None:
        if not s.interactive:
            return New()
        # Executing an unchanged cell again in one kernel means "do it again", also when the first
        # time changed what it reads; an edited cell keeps what it can, as everywhere in a notebook.
        if s.executed_here and s.same_code:
            changed = f" ({_names(s.differing)} changed)" if s.differing else ""
            return New(
                f"new run{changed}; the last one completed {ago(s.age)}: "
                f"{_command(s, f'--replay {s.run}')} shows it again"
            )
    if s.same_code and s.same_inputs:
        return restored
    return Fork(f"forking {s.run}: {_names((*s.changed_code, *s.differing))} changed")
