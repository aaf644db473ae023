"""`jupyter durable waits`, `approve`, `reject`, `answer`, `signal`: what runs wait for, and what to say about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from jupyter_durable.cli import json_option, store_option
from jupyter_durable.cli.decide import person
from jupyter_durable.cli.text import ago, prefixes, short, table
from jupyter_durable.clock import SystemClock
from jupyter_durable.model import InboxItem, WaitInfo
from jupyter_durable.timeline.waits import ways

if TYPE_CHECKING:
    from jupyter_durable.session import Store


@click.command()
@click.argument("run", required=False)
@store_option
@json_option
def waits(run: str | None, store: str | None, as_json: bool) -> None:
    """List what a RUN waits for, or what all of them do: people, signals, timers."""
    from jupyter_durable.session import open_store

    with closing(open_store(store)) as opened:
        found = opened.waits(run)
    if as_json:
        click.echo(json.dumps([asdict(wait) for wait in found], indent=2))
        return
    if not found:
        click.echo("nothing waits")
        return
    now = SystemClock().now()
    ids = prefixes([wait.run for wait in found])
    rows = [
        (ids[w.run], short(w.run_name, 24), w.step or "", ago(now - w.since), w.what, _state(w))
        for w in found
    ]
    click.echo(table(["RUN", "NAME", "STEP", "SINCE", "WAITS FOR", ""], rows))
    for wait in found:
        if not wait.ready and (lines := ways(wait, "jupyter durable", ids[wait.run])):
            click.echo("\n" + "\n".join(lines))


def _state(wait: WaitInfo) -> str:
    if wait.decided_by is not None:
        return f"decided by {wait.decided_by}"
    return "ready" if wait.ready else ""


@click.command()
@click.argument("run")
@click.argument("step")
@click.option("--arguments", metavar="JSON", help="Arguments to change before the call is made, by name.")
@store_option
@json_option
def approve(run: str, step: str, arguments: str | None, store: str | None, as_json: bool) -> None:
    """Let the call of a STEP be made that waits for approval.

    STEP is its id or name.
    """
    edit = None
    if arguments is not None:
        try:
            edit = json.loads(arguments)
        except ValueError as error:
            raise click.UsageError(f"--arguments is no JSON: {error}") from None
        if not isinstance(edit, dict):
            raise click.UsageError('--arguments must be an object: {"name": value}')
    _say(store, run, step, as_json, lambda s, r: s.approve(r, step, arguments=edit, by=person()))


@click.command()
@click.argument("run")
@click.argument("step")
@click.argument("why", default="")
@store_option
@json_option
def reject(run: str, step: str, why: str, store: str | None, as_json: bool) -> None:
    """Do not let the call of a STEP be made.

    The agent is told WHY.
    """
    _say(store, run, step, as_json, lambda s, r: s.reject(r, step, why, by=person()))


@click.command()
@click.argument("run")
@click.argument("step")
@click.argument("value")
@store_option
@json_option
def answer(run: str, step: str, value: str, store: str | None, as_json: bool) -> None:
    """Answer the question of a STEP.

    VALUE is JSON, or else text.
    """
    _say(store, run, step, as_json, lambda s, r: s.answer(r, step, _typed(s, r, step, value), by=person()))


@click.command()
@click.argument("run")
@click.argument("name")
@click.argument("value", required=False)
@store_option
@json_option
def signal(run: str, name: str, value: str | None, store: str | None, as_json: bool) -> None:
    """Send a run a VALUE under a NAME, for its `durable.wait_for`.

    VALUE is JSON, or else text.
    """

    def send(opened: Store, run_id: str) -> InboxItem:
        given = _typed(opened, run_id, name, value) if value is not None else None
        return opened.signal(run_id, name, given, by=person())

    _say(store, run, name, as_json, send)


def _typed(store: Store, run: str, key: str, text: str) -> Any:
    from jupyter_durable.session.deciding import from_text

    there = (wait.schema for wait in store.waits(run) if key in (wait.key, wait.step, wait.name))
    return from_text(next(there, None), text)


def _say(
    store: str | None, run: str, key: str, as_json: bool, act: Callable[[Store, str], InboxItem]
) -> None:
    from jupyter_durable.session import open_store

    with closing(open_store(store)) as opened:
        info = opened.run(run)
        item = act(opened, info.id)
        alive = opened._session.alive(opened.journal.run(info.id))
    said = str(item.value["action"])
    if as_json:
        click.echo(json.dumps({"run": info.id, "key": item.key, "action": said, "by": item.by}))
        return
    goes_on = "the run goes on" if alive else "run its cell or its job again, and it goes on"
    click.echo(f"{key} of {info.name}: {said} is recorded; {goes_on}")
