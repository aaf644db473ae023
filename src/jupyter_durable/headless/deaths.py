"""Why a kernel ended, as far as this machine says so.

A process that is killed for want of memory gets the same SIGKILL as any other. What tells them apart is a
counter: of the control group it lives in, or, with less certainty, of the whole machine.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")


class Killed(NamedTuple):
    """How often something was killed for want of memory: in this control group, on this machine. None: not counted."""

    group: int | None
    machine: int | None


def killed(proc: Path = _PROC, groups: Path = _GROUPS) -> Killed:
    """The counters as they are now.

    >>> killed(Path("/nowhere"), Path("/nowhere"))
    Killed(group=None, machine=None)
    """
    return Killed(_of_group(proc, groups), _number(_read(proc / "vmstat"), "oom_kill"))


def _of_group(proc: Path, groups: Path) -> int | None:
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        if not controllers:  # version 2; in a container the group's own files may be at the top
            for folder in (groups / inside, groups):
                found = _number(_read(folder / "memory.events"), "oom_kill")
                if found is not None:
                    return found
        elif "memory" in controllers.split(","):
            for folder in (groups / "memory" / inside, groups / "memory"):
                found = _number(_read(folder / "memory.oom_control"), "oom_kill")
                if found is not None:
                    return found
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _number(text: str, name: str) -> int | None:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return None


def cause(status: int | None, before: Killed, after: Killed, *, memory: int = 0, ours: str = "") -> str:
    """Why a process with this exit status (negative: a signal's number) ended, in brackets; empty if nobody knows.

    `memory`: bytes it used when last seen. `ours`: why this program ended it, if it did.

    >>> cause(-9, Killed(0, 0), Killed(1, 1), memory=3_000_000_000)
    ' (out of memory: the system killed it, at 3.0 GB)'
    >>> cause(-11, Killed(0, 0), Killed(0, 0))
    ' (SIGSEGV)'
    """
    if ours:
        return f" ({ours})"
    if status is None:
        return ""
    if status >= 0:
        return f" (it exited with code {status})" if status else " (it exited by itself)"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if -status != signal.SIGKILL:
        return f" ({name})"
    used = f"{memory / 1e9:.1f} GB" if memory >= 1e8 else f"{memory / 1e6:.0f} MB" if memory else ""
    at = f", at {used}" if used else ""
    if before.group is not None and after.group is not None and after.group > before.group:
        return f" (out of memory: the system killed it{at})"
    if before.machine is not None and after.machine is not None:
        if after.machine > before.machine:
            return f" (SIGKILL{at}; this machine ran out of memory meanwhile, so probably for that)"
        return f" (SIGKILL{at}; not for want of memory, as far as this machine counts)"
    return f" (SIGKILL{at}: somebody killed it, or it ran out of memory; this machine does not say which)"


def is_out_of_memory(before: Killed, after: Killed) -> bool:
    """Whether something was killed for want of memory between the two."""
    return any(
        was is not None and now is not None and now > was for was, now in zip(before, after, strict=True)
    )
