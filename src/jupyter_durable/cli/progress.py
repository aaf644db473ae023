"""How a job gets on, as a line that changes (a terminal), as lines that stay (a log), or as JSON (a program)."""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from typing import Any, Protocol

import click

from jupyter_durable.cli.text import span


class Progress(Protocol):
    """What a runner is given."""

    def event(self, kind: str, **facts: Any) -> None:
        """Something happened; any thread may say so."""

    def tell(self, line: str) -> None:
        """A line for a person."""

    def close(self) -> None:
        """It is over."""


def progress(*, as_json: bool, quiet: bool = False) -> Progress:
    """JSON lines on stdout if they are wanted; else, on stderr, one line that changes where that is a terminal and rich is
    there, and plain lines elsewhere."""
    if as_json:
        return JsonLines()
    if not quiet and sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        with suppress(ImportError):
            return Live()
    return Lines(quiet=quiet)


class JsonLines:
    """One JSON object a line on stdout: `event`, and facts about it. Lines for people are `notice` events."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def event(self, kind: str, **facts: Any) -> None:
        """Print it."""
        with self._lock:
            click.echo(json.dumps({"event": kind, **facts}))

    def tell(self, line: str) -> None:
        """Print it, and on stderr for whoever reads the log."""
        self.event("notice", text=line)
        click.echo(line, err=True)

    def close(self) -> None:
        """Nothing is left to be said."""


class Lines:
    """Plain lines on stderr: each cell when it is done. quiet: only what a person should know."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._source = ""

    def event(self, kind: str, **facts: Any) -> None:
        """Say when a cell is done."""
        if kind == "cell":
            self._source = facts["source"]
        elif kind == "done" and not self._quiet:
            click.echo(
                f"cell {facts['cell']} of {facts['of']} ({self._source}): {span(facts['seconds'])}", err=True
            )

    def tell(self, line: str) -> None:
        """Print it."""
        click.echo(line, err=True)

    def close(self) -> None:
        """Nothing is left to be said."""


class Live:
    """One line at the bottom of the terminal. Raises `ImportError` without rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.status import Status

        self._console = Console(stderr=True, highlight=False)
        self._status: Status = self._console.status("starting a kernel")
        self._cell = ""
        self._status.start()

    def event(self, kind: str, **facts: Any) -> None:
        """Change the line."""
        from rich.markup import escape

        if kind == "cell":
            self._cell = f"cell {facts['cell']} of {facts['of']} ({facts['source']})"
            self._status.update(escape(self._cell))
        elif kind == "steps":
            now = f", now {', '.join(facts['under_way'])}" if facts["under_way"] else ""
            failed = f", {facts['failed']} failed" if facts["failed"] else ""
            self._status.update(escape(f"{self._cell}: {facts['name']}, {facts['done']} steps{failed}{now}"))
        elif kind == "done":
            self._console.print(escape(f"✓ {self._cell} {span(facts['seconds'])}"), style="dim")

    def tell(self, line: str) -> None:
        """Print it above the line."""
        self._console.print(line, markup=False, style="yellow")

    def close(self) -> None:
        """Take the line away."""
        self._status.stop()
