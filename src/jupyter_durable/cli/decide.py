"""`jupyter durable retry`, `supply`, `fail`, `cancel`: what only a person can say."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import click

from jupyter_durable.cli import json_option, store_option


@click.command()
@click.argument("run", required=False)
@click.argument("step", required=False)
@click.option(
    "--failed",
    is_flag=True,
    help="Put failed jobs in the queue again: all, or those of a job, batch or path.",
)
@store_option
@json_option
def retry(run: str | None, step: str | None, failed: bool, store: str | None, as_json: bool) -> None:
    """Make the call of a STEP in doubt again; or with --failed, take failed jobs up again.

    Say so when the call did not happen, or may happen twice. Jobs go on where they failed: what they have completed is
    not done twice.
    """
    if failed:
        if step is not None:
            raise click.UsageError("--failed takes a job, a batch or a path, and no step")
        _retry_failed(store, run, as_json)
        return
    if run is None or step is None:
        raise click.UsageError("say which: RUN STEP, or --failed")
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


def _retry_failed(store: str | None, what: str | None, as_json: bool) -> None:
    from jupyter_durable.headless import queue
    from jupyter_durable.store import connect

    with closing(connect(store)) as journal:
        again = queue.retry(journal, queue.select(journal, [what] if what else []))
    if as_json:
        click.echo(json.dumps({"jobs": [job.id for job in again]}))
    else:
        click.echo(f"{len(again)} {'job is' if len(again) == 1 else 'jobs are'} in the queue again")


@click.command()
@click.argument("run", metavar="RUN|JOB")
@store_option
@json_option
def cancel(run: str, store: str | None, as_json: bool) -> None:
    """End a run, or a job with its runs, for good: nothing resumes it.

    A job that runs ends within a moment; a batch is cancelled by its id.
    """
    from jupyter_durable.headless import queue
    from jupyter_durable.store import connect

    with closing(connect(store)) as journal:
        ended = queue.cancel(journal, run, by=person())
    if ended is not None:
        if as_json:
            click.echo(json.dumps({"jobs": ended, "status": "cancelled"}))
        else:
            click.echo(f"{len(ended)} {'job is' if len(ended) == 1 else 'jobs are'} cancelled")
        return
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
