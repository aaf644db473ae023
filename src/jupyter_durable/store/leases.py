"""Who may hold a lease, and whether a holder is still there."""

from __future__ import annotations

import functools
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from jupyter_durable.errors import LeaseHeldError, LeaseLost
from jupyter_durable.model import Owner
from jupyter_durable.store.rows import HeadRow, RunRow, to_owner

_SAME_START = (
    1.0  # seconds; start times are computed from the boot time, which a clock correction moves a little
)
_FIRST_PID_NAMESPACE = 0xEFFFFFFC


@functools.cache
def this_host() -> str:
    """This machine, as far as its process ids reach: containers see each other's file, not each other's pids.

    >>> this_host() == this_host() != ""
    True
    """
    name = socket.gethostname()
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return name
    return name if namespace == _FIRST_PID_NAMESPACE else f"{name}/{namespace:x}"


@functools.cache
def _started(pid: int) -> float:
    # Cached by pid, so that a forked child finds its own.
    import psutil

    return float(psutil.Process(pid).create_time())


def this_owner(label: str = "") -> Owner:
    """This process as the owner of a lease; `label` says to people what it is ("kernel research.ipynb").

    >>> this_owner("kernel").pid == os.getpid()
    True
    """
    pid = os.getpid()
    return Owner(this_host(), pid, _started(pid), label)


def process_of(pid: int, label: str = "") -> Owner | None:
    """A process of this machine as an owner; None if it is gone."""
    import psutil

    try:
        return Owner(this_host(), pid, float(psutil.Process(pid).create_time()), label)
    except psutil.Error:
        return None


def is_same(one: Owner, other: Owner) -> bool:
    """Whether both are one process. Labels do not count."""
    return one.host == other.host and one.pid == other.pid and abs(one.started - other.started) <= _SAME_START


def is_gone(owner: Owner) -> bool:
    """Whether the process is known to have ended. False for another host's: nobody here can tell.

    A stopped process is there. A zombie is not: it will never run again, whoever has yet to reap it.
    """
    if owner.host != this_host():
        return False
    import psutil

    try:
        process = psutil.Process(owner.pid)
        if abs(float(process.create_time()) - owner.started) > _SAME_START:
            return True
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:  # there, but not ours to look at
        return False


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).astimezone().isoformat(sep=" ", timespec="seconds")


def check_free(row: RunRow, head: HeadRow, claimant: Owner, now: float) -> None:
    """Whether `claimant` may take the lease at `now`. Raises `LeaseHeldError` naming the holder."""
    if head.owner is None or head.expires_at <= now:
        return
    holder, since = to_owner(head.owner)
    if is_same(holder, claimant) or is_gone(holder):
        return
    here = holder.host == this_host()
    raise LeaseHeldError(
        f"run {row.name!r} ({row.id[:13]}) is being advanced by {holder} since {_when(since)}",
        owner=str(holder),
        hint=(
            f"let it finish or interrupt it there; once process {holder.pid} has ended the run is free at once"
            if here
            else f"let it finish or interrupt it there; if that machine is gone the run is free at {_when(head.expires_at)}"
        ),
    )


def lost(row: RunRow, head: HeadRow, generation: int) -> LeaseLost:
    """What to raise when generation `generation` may no longer write."""
    if head.owner is not None and head.generation != generation:
        holder, since = to_owner(head.owner)
        what = f"{holder} took it over at {_when(since)}"
    elif head.generation != generation:
        what = "another process took it over, and has given it back since"
    else:
        what = "it was given back"
    return LeaseLost(
        f"this process no longer holds the lease of run {row.name!r} ({row.id[:13]}): {what}",
        hint="what was committed is safe; run the cell again (or resume the run) to take it up where it stands",
    )
