"""`jupyter durable ls`, `show`, `verify`: what is in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

import click

from jupyter_durable.cli import json_option, store_option
from jupyter_durable.cli.text import ago, from_here, prefixes, short, span, table
from jupyter_durable.clock import SystemClock
from jupyter_durable.errors import RunNotFoundError
from jupyter_durable.model import FINAL, RunInfo, RunStatus, StepCounts, StepInfo, WaitInfo
from jupyter_durable.timeline.costs import describe, used
from jupyter_durable.timeline.waits import ways


@click.command()
@click.option("--status", type=click.Choice(get_args(RunStatus)), help="Only runs in this state.")
@click.option("--name", help="Only runs of this name.")
@store_option
@json_option
def ls(status: str | None, name: str | None, store: str | None, as_json: bool) -> None:
    """List the runs in the store, newest first."""
    from jupyter_durable.session import open_store

    with closing(open_store(store)) as opened:
        runs = opened.runs(status=status, name=name)
        # What is printed must be typed: it has to tell a run from those that were filtered out, too.
        ids = prefixes([record.id for record in opened.journal.runs()])
    if as_json:
        click.echo(json.dumps([asdict(run) for run in runs], indent=2))
        return
    if not runs:
        wanted = " ".join(filter(None, (status, name and f"named {name}")))
        click.echo(f"no runs{' ' + wanted if wanted else ''} in this store")
        return
    now = SystemClock().now()
    click.echo(
        table(
            ["RUN", "NAME", "STATUS", "STEPS", "UPDATED", "NOTEBOOK"],
            (
                (
                    ids[run.id],
                    short(run.name, 24),
                    run.status,
                    _done(run.steps),
                    ago(now - run.updated_at),
                    Path(run.notebook).name if run.notebook else "",
                )
                for run in runs
            ),
        )
    )


@click.command()
@click.argument("run")
@click.argument("step", required=False)
@store_option
@json_option
def show(run: str, step: str | None, store: str | None, as_json: bool) -> None:
    """Show a run, step by step; or one STEP of it in full.

    RUN is an id as `ls` prints it; the beginning of one is enough.
    """
    from jupyter_durable.session import open_store

    with closing(open_store(store)) as opened:
        info = opened.run(run)
        steps = opened.steps(info.id)
        plan = None if info.status in (*FINAL, "running") else str(opened.plan(info.id))
        found = find_step(steps, step, info) if step is not None else None
        talk = opened.messages(info.id, found.id) if found is not None and found.kind == "model" else []
        waits = opened.waits(info.id) if found is None else []
    if found is not None:
        if as_json:
            click.echo(json.dumps(asdict(found) | {"messages": [m._asdict() for m in talk]}, indent=2))
        else:
            click.echo("\n\n".join([_step(found, talk=bool(talk)), *(f"{m.role}:\n{m.text}" for m in talk)]))
    elif as_json:
        said = {"steps": [asdict(s) for s in steps], "waits": [asdict(w) for w in waits]}
        click.echo(json.dumps(asdict(info) | said, indent=2))
    else:
        click.echo(_run(info, steps, plan, waits))


@click.command()
@click.argument("run", required=False)
@store_option
@json_option
def verify(run: str | None, store: str | None, as_json: bool) -> None:
    """Check that the store, or one RUN, is unaltered.

    Finds what was edited, deleted, swapped or cut off, and exits with 1 if something is wrong. Putting back an older copy of the whole file, with its key,
    cannot be noticed.
    """
    from jupyter_durable.session import open_store

    with closing(open_store(store)) as opened:
        problems = opened.verify(opened.run(run).id if run else None)
    if as_json:
        click.echo(json.dumps([asdict(problem) for problem in problems], indent=2))
    elif problems:
        click.echo(table(["RUN", "WHERE", "WHAT"], ((p.run_id or "", p.where, p.what) for p in problems)))
        click.echo(
            "\nDo not resume what is named here: restore the store and its key from a backup.", err=True
        )
    else:
        click.echo("everything verifies")
    if problems:
        click.get_current_context().exit(1)


def find_step(steps: Sequence[StepInfo], wanted: str, run: RunInfo) -> StepInfo:
    """The step of that id, or the only one whose id begins so. Raises `RunNotFoundError`."""
    found = [s for s in steps if s.id == wanted] or [s for s in steps if s.id.startswith(wanted)]
    if len(found) != 1:
        many = "more than one step" if found else "no step"
        raise RunNotFoundError(
            f"{many} {wanted!r} in run {run.id}", hint=f"jupyter durable show {run.id} lists them"
        )
    return found[0]


def _done(steps: StepCounts) -> str:
    total = sum(getattr(steps, field.name) for field in fields(steps))
    return f"{steps.completed}/{total}"


def _run(run: RunInfo, steps: Sequence[StepInfo], plan: str | None, waits: Sequence[WaitInfo] = ()) -> str:
    counts = [f"{n} {name.replace('_', ' ')}" for name, n in asdict(run.steps).items() if n]
    facts: dict[str, Any] = {
        "run": run.id,
        "status": f"{run.status}, {ago(SystemClock().now() - run.updated_at)}",
        "notebook": run.notebook and from_here(run.notebook),
        "parent": _parent(run),
        "steps": ", ".join(counts) or "none",
        "cost": describe(run.cost, run.saved, run.usage) if run.usage.calls or run.saved else None,
        "resuming": plan,
    }
    lines = [run.name, *(f"  {key:<9} {value}" for key, value in facts.items() if value)]
    if steps:
        rows = ((s.id, s.status.replace("_", " "), str(s.attempts), _took(s), _call(s)) for s in steps)
        lines += ["", table(["STEP", "STATUS", "TRIES", "TIME", "CALL"], rows)]
    for step in steps:
        if step.status == "in_doubt" and step.effect == "unsafe":
            lines += ["", f"Step {step.id} ({step.name}) may or may not have happened. Say which:"]
            for verb, value, meaning in (
                ("retry", "", "make the call again"),
                ("supply", " VALUE", "it happened, with this result"),
                ("fail", " WHY", "it failed"),
            ):
                lines.append(f"{f'  jupyter durable {verb} {run.id[:13]} {step.id}{value}':<50} {meaning}")
    for wait in waits:
        if not wait.ready and (ways_out := ways(wait, "jupyter durable", run.id[:13])):
            lines += ["", *ways_out]
    return "\n".join(lines)


def _parent(run: RunInfo) -> str | None:
    if run.parent_id is None:
        return None
    return run.parent_id if run.forked_at is None else f"forked from {run.parent_id} at entry {run.forked_at}"


def _step(step: StepInfo, *, talk: bool = False) -> str:
    facts: dict[str, Any] = {
        "kind": step.kind,
        "status": step.status.replace("_", " ")
        + (" (history: not replayed any more)" if step.history else ""),
        "scope": step.scope,
        "effect": step.effect,
        "attempts": step.attempts,
        "replays": step.replays,
        "waits for": step.wait,
        "changed": step.edited,
        "given by": step.given,
        "took": _took(step),
        "used": used(step),
        "arguments": step.arguments if not talk else None,  # what follows says it
        "result": step.result if not talk else None,
        "error": step.error,
    }
    return "\n".join(
        [f"{step.name}  {step.id}", *(_fact(k, str(v)) for k, v in facts.items() if v not in (None, ""))]
    )


def _fact(name: str, value: str) -> str:
    return f"  {name:<11}" + ("\n" + " " * 13).join(value.splitlines() or [""])


def _took(step: StepInfo) -> str:
    return span(step.seconds)


def _call(step: StepInfo) -> str:
    # The error first: a long call would push it off the screen.
    return f"{step.name}: {step.error}" if step.error else step.arguments
