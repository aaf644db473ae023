"""`jupyter durable watch`: a run's timeline in a terminal, as it comes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from jupyter_durable.cli import json_option, store_option
from jupyter_durable.cli.text import short, span
from jupyter_durable.clock import SystemClock
from jupyter_durable.errors import RunNotFoundError
from jupyter_durable.model import FINAL

if TYPE_CHECKING:
    from jupyter_durable.session import Store
    from jupyter_durable.session.watching import Watch

_EVERY = 0.25
_KEPT = 500
_SIGNS = {
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "running": ("▸", "cyan"),
    "waiting": ("⏸", "yellow"),
    "in_doubt": ("?", "magenta"),
    "cancelled": ("∅", "dim"),
    "interrupted": ("◼", "yellow"),
}


@click.command()
@click.argument("run", required=False)
@click.option("--once", is_flag=True, help="Show it as it is now, and end.")
@store_option
@json_option
@click.pass_context
def watch(ctx: click.Context, run: str | None, once: bool, store: str | None, as_json: bool) -> None:
    """Watch a RUN, step by step, until it ends; by default the newest one that has not.

    With --json each line is what has changed: the run, its rows and what it waits for (a page of the timeline, as
    `jupyter_durable.timeline.rows` has it). Without rich (`pip install rich`), or where no terminal is, a line for each step.

    \b
    Exit codes:  0  it has completed (or --once)
                 1  it failed
                 4  it was cancelled
                75  nothing advances it: it waits, or was interrupted
    """
    from jupyter_durable.session import open_store
    from jupyter_durable.session.watching import Watch

    with closing(open_store(store)) as opened:
        found = Watch(opened, opened.run(run).id if run is not None else _newest(opened), limit=_KEPT)
        found.read()
        draw, close = _drawing(found, as_json=as_json)
        try:
            _follow(found, draw, once=once)
        finally:
            close()
        status = found.feed.record.status
    if not once:
        codes = {"completed": 0, "failed": 1, "cancelled": 4}
        ctx.exit(codes.get(status, 75))


def _newest(store: Store) -> str:
    records = store.journal.runs()
    for record in records:
        if record.parent_id is None and record.status not in FINAL:
            return record.id
    if records:
        return records[0].id
    raise RunNotFoundError(
        "there are no runs in this store", hint="`jupyter durable run NOTEBOOK` begins one"
    )


def _follow(found: Watch, draw: Callable[[dict[str, Any]], None], *, once: bool) -> None:
    """Draw what changes until nobody advances the run."""
    mark, version = 0, -1
    while True:
        for page in found.pages(mark):
            mark = page["mark"]
            numbers = [row["n"] for row in page["rows"]]
            draw({**page, "rows": found.texts(numbers)})
        if once or not found.live:
            if once or not found.read():
                return
            continue
        SystemClock.wait(_EVERY)
        if (now := found.store.journal.version()) != version:
            version = now
        found.read()


def _drawing(found: Watch, *, as_json: bool) -> tuple[Callable[[dict[str, Any]], None], Callable[[], None]]:
    if as_json:
        return lambda page: click.echo(json.dumps(page)), lambda: None
    if sys.stdout.isatty():
        try:
            from rich.live import Live
        except ImportError:
            pass
        else:
            table = _Table(found)
            live = Live(get_renderable=table.draw, refresh_per_second=4, screen=False)
            live.start()

            def end() -> None:
                live.refresh()
                live.stop()

            return table.take, end
    return _Lines(), lambda: None


class _Lines:
    """A line for each step that has changed."""

    def __init__(self) -> None:
        self._said: dict[int, str] = {}
        self._run = ""

    def __call__(self, page: dict[str, Any]) -> None:
        for row in page["rows"]:
            text = line(row)
            if self._said.get(row["n"]) != text:
                self._said[row["n"]] = text
                click.echo(text)
        if (now := headline(page["run"])) != self._run:
            self._run = now
            click.echo(now)


class _Table:
    """The newest rows that fit, below the run's own line."""

    def __init__(self, found: Watch) -> None:
        self._rows: dict[int, dict[str, Any]] = {}
        self._page: dict[str, Any] = {}

    def take(self, page: dict[str, Any]) -> None:
        self._page = page
        self._rows.update({row["n"]: row for row in page["rows"]})
        for n in sorted(self._rows)[:-_KEPT]:
            del self._rows[n]

    def draw(self) -> Any:
        import shutil

        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        if not self._page:
            return Text("")
        height = max(shutil.get_terminal_size().lines - 6 - len(self._page["waits"]), 5)
        grid = Table.grid(padding=(0, 1))
        for column in (2, 8, 9):
            grid.add_column(width=column, no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        for n in sorted(self._rows)[-height:]:
            row = self._rows[n]
            sign, style = _SIGNS.get(row["status"], (" ", ""))
            time = span(row.get("took")) if "took" in row else span(_since(self._page, row))
            grid.add_row(
                Text(sign, style),
                Text(row["id"], "dim"),
                Text(time, "dim"),
                Text(_words(row), style if row["status"] != "completed" else ""),
            )
        waits = [
            Text(f"⏸ {wait['prompt'] or wait['kind']}  ({wait['key']})", "yellow")
            for wait in self._page["waits"]
        ]
        return Group(Text(headline(self._page["run"]), "bold"), grid, *waits)


def _since(page: dict[str, Any], row: dict[str, Any]) -> float | None:
    return max(0.0, SystemClock.now() - row["at"]) if row["status"] == "running" else None


def _words(row: dict[str, Any]) -> str:
    said = row.get("says") or (row.get("text") or "")[-80:]
    replayed = " (replayed)" if row.get("replays") else ""
    return short(f"{row.get('call') or row['name']}{replayed}" + (f" → {said}" if said else ""), 400)


def line(row: dict[str, Any]) -> str:
    """A step as a line.

    >>> line({"id": "1.2", "status": "completed", "name": "ask", "call": "ask('q')", "took": 0.5, "says": "'a'"})
    "✓ 1.2 ask('q') → 'a' (500 ms)"
    """
    sign, _ = _SIGNS.get(row["status"], (" ", ""))
    took = f" ({span(row['took'])})" if "took" in row else ""
    return f"{sign} {row['id']} {_words(row)}{took}"


def headline(run: dict[str, Any]) -> str:
    """The run as a line."""
    counts = run["counts"]
    parts = [
        f"{counts[name]} {name.replace('_', ' ')}"
        for name in ("completed", "running", "waiting", "in_doubt", "failed")
        if counts[name]
    ]
    money = f", ${run['cost']:.2f}" if run["cost"] else ""
    error = f": {run['error']}" if run.get("error") else ""
    return f"{run['name']} ({run['id'][:13]}) {run['status']}{error}; {', '.join(parts) or 'no steps'}{money}"
