"""`jupyter durable retry`, `supply`, `fail`, `cancel`: what only a person can say."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import click

from jupyter_durable.cli import json_option, store_option


@click.command()
@click.argument("run")
@click.argument("step")
@store_option
@json_option
def retry(run: str, step: str, store: str | None, as_json: bool) -> None:
    """Make the call of a STEP in doubt again.

    Say so when it did not happen, or may happen twice.
    """
    _decide(store, run, step, "will be made again", as_json, lambda s, r, at: s.retry(r, at, by=person()))


@click.command()
@click.argument("run")
@click.argument("step")
@click.argument("value")
@store_option
@json_option
def supply(run: str, step: str, value: str, store: str | None, as_json: bool) -> None:
    """Give a STEP in doubt its result.

    Say so when it did happen. VALUE is JSON, or else text.
    """
    from jupyter_durable.headless.parameters import parse

    _decide(
        store,
        run,
        step,
        "has its result",
        as_json,
        lambda s, r, at: s.supply(r, at, parse(value), by=person()),
    )


@click.command()
@click.argument("run")
@click.argument("step")
@click.argument("why")
@store_option
@json_option
def fail(run: str, step: str, why: str, store: str | None, as_json: bool) -> None:
    """Let a STEP in doubt count as failed.

    The run goes on with an error that says WHY.
    """
    _decide(store, run, step, "counts as failed", as_json, lambda s, r, at: s.fail(r, at, why, by=person()))


@click.command()
@click.argument("run")
@store_option
@json_option
def cancel(run: str, store: str | None, as_json: bool) -> None:
    """End a run for good: nothing resumes it."""
    _decide(store, run, None, "", as_json, lambda s, r, at: s.cancel(r, by=person()))


def person() -> str:
    """Who decides, at a terminal."""
    import getpass

    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):  # a container's user may have no name
        return "command line"


def _decide(
    store: str | None,
    run: str,
    step: str | None,
    says: str,
    as_json: bool,
    act: Callable[[Any, str, str], Any],
) -> None:
    from jupyter_durable.cli.look import find_step
    from jupyter_durable.session import open_store

    with closing(open_store(store)) as opened:
        info = opened.run(run)
        found = find_step(opened.steps(info.id), step, info) if step is not None else None
        act(opened, info.id, found.id if found else "")
        info = opened.run(info.id)
    if as_json:
        click.echo(json.dumps({"run": info.id, "step": found.id if found else None, "status": info.status}))
    elif found:
        click.echo(
            f"step {found.id} ({found.name}) {says} when the run goes on: run its cell or its job again"
        )
    else:
        click.echo(f"run {info.id} ({info.name}): its cancellation is recorded")
