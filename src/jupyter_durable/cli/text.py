"""Plain tables and spans of time, for people with 80 columns."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path


def ago(seconds: float) -> str:
    """How long ago something was.

    >>> [ago(s) for s in (2, 90, 7300, 200_000)]
    ['just now', '1 min ago', '2 h ago', '2 d ago']
    """
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def span(seconds: float | None) -> str:
    """A duration.

    >>> [span(s) for s in (None, 0.0004, 0.02, 1.26, 200, 9000)]
    ['', '0 ms', '20 ms', '1.3 s', '3 min', '2.5 h']
    """
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def moment(at: float) -> str:
    """A point in time, in this machine's zone: short if it is soon.

    >>> len(moment(0.0))
    16
    """
    then, now = datetime.fromtimestamp(at).astimezone(), datetime.now().astimezone()
    return then.strftime("%H:%M:%S" if then.date() == now.date() else "%Y-%m-%d %H:%M")


def short(text: str, width: int) -> str:
    """One line of at most `width` characters.

    >>> short("a long story\\nin two lines", 12)
    'a long stor…'
    """
    line = " ".join(text.split())
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def prefixes(ids: Sequence[str], at_least: int = 8) -> dict[str, str]:
    """Each id's shortest prefix that no other of `ids` begins with.

    >>> prefixes(["0199f2ab-3c1d-7a", "0199f2ab-3c1e-7b", "0200aaaa-0000-7c"])["0200aaaa-0000-7c"]
    '0200aaaa'
    """
    ordered = sorted(set(ids))
    result = {}
    for index, this in enumerate(ordered):
        neighbours = ordered[max(index - 1, 0) : index] + ordered[index + 1 : index + 2]
        size = at_least
        while size < len(this) and (
            any(n.startswith(this[:size]) for n in neighbours) or this[size - 1] == "-"
        ):
            size += 1
        result[this] = this[:size]
    return result


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, width: int | None = None) -> str:
    """Aligned columns; the last one takes what is left of the terminal and is cut there.

    >>> print(table(["ID", "NAME"], [["1", "search"], ["20", "read"]], width=80))
    ID  NAME
    1   search
    20  read
    """
    lines = [list(head), *(list(row) for row in rows)]
    width = width or max(shutil.get_terminal_size((80, 24)).columns, 60)
    sizes = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    left = max(width - sum(sizes) - 2 * len(sizes), 8)
    return "\n".join(
        "  ".join(
            [*(cell.ljust(size) for cell, size in zip(line, sizes, strict=False)), short(line[-1], left)]
        ).rstrip()
        for line in lines
    )


def from_here(path: str) -> str:
    """The path as people would type it: relative if it is below the current folder."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
