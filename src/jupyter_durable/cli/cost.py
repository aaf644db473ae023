"""`jupyter durable cost`, `budget`: what runs spent, and how much one may."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from jupyter_durable.cli import json_option, store_option
from jupyter_durable.cli.decide import person
from jupyter_durable.cli.text import prefixes, short, table
from jupyter_durable.journal.budget import money, parse_cost
from jupyter_durable.model import RunInfo
from jupyter_durable.timeline.costs import STEP_HEAD, by_notebook, describe, step_row, total


@click.command()
@click.argument("run", required=False)
@store_option
@json_option
def cost(run: str | None, store: str | None, as_json: bool) -> None:
    """What model calls cost, and what replay saved: of a RUN, step by step; or of all runs, by notebook.

    Money is USD. A price that is not known is said, not guessed.
    """
    from jupyter_durable.session import open_store

    with closing(open_store(store)) as opened:
        if run is None:
            runs = [info for info in opened.runs() if info.usage.calls or info.saved]
            click.echo(json.dumps(_sums(runs), indent=2) if as_json else _runs(runs))
            return
        info = opened.run(run)
        spent = opened.spent(info.id)
        steps = [step for step in opened.steps(info.id) if step.usage is not None]
    if as_json:
        found = {**asdict(spent), "run": info.id, "steps": [asdict(step) for step in steps]}
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{info.name}  {describe(spent.cost, spent.saved, spent.usage)}")
    if spent.inherited:
        click.echo(f"the runs that it was forked from had spent {money(spent.inherited)} up to there")
    if steps:
        click.echo("\n" + table(STEP_HEAD, [step_row(step) for step in steps]))


@click.command()
@click.argument("run")
@click.argument("amount", required=False)
@click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="How many steps it may make.")
@click.option(
    "--deadline", metavar="TIME", help='Until when it may go on: "2 h" from now, "17:30", or a date.'
)
@store_option
@json_option
def budget(
    run: str,
    amount: str | None,
    max_steps: int | None,
    deadline: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Raise the budget of a RUN that waits for it.

    AMOUNT is in USD, for all that the run spends: what it spent so far counts.
    """
    from jupyter_durable.session import open_store

    if amount is None and max_steps is None and deadline is None:
        raise click.UsageError("say how much: an AMOUNT in USD, --max-steps N, or --deadline TIME")
    try:
        usd = parse_cost(amount) if amount is not None else None
    except ValueError:
        raise click.UsageError(f"not an amount in USD: {amount}") from None
    with closing(open_store(store)) as opened:
        info = opened.run(run)
        holds = opened.raise_budget(info.id, cost=usd, steps=max_steps, deadline=deadline, by=person())
    if as_json:
        click.echo(json.dumps({"run": info.id, **asdict(holds)}))
    else:
        click.echo(
            f"run {info.id[:13]} ({info.name}) may spend {holds}; if it does not run, run its cell or its job again"
        )


def _runs(runs: Sequence[RunInfo]) -> str:
    if not runs:
        return "no model calls in this store"
    ids = prefixes([run.id for run in runs])
    parts = []
    for notebook, own in by_notebook(runs).items():
        rows = [
            (
                ids[run.id],
                short(run.name, 24),
                money(run.cost),
                money(run.saved) if run.saved else "",
                str(run.usage.calls),
                f"{run.usage.unpriced} unpriced" if run.usage.unpriced else "",
            )
            for run in own
        ]
        name = Path(notebook).name if notebook else "no notebook"
        spent, saved, usage = total(own)
        head = ["RUN", "NAME", "COST", "SAVED", "CALLS", ""]
        parts.append(f"{name}: {describe(spent, saved, usage)}\n{table(head, rows)}")
    return "\n\n".join(parts)


def _sums(runs: Sequence[RunInfo]) -> dict[str, object]:
    notebooks = []
    for notebook, own in by_notebook(runs).items():
        spent, saved, usage = total(own)
        each = [
            {"run": r.id, "name": r.name, "cost": r.cost, "saved": r.saved, "usage": asdict(r.usage)}
            for r in own
        ]
        notebooks.append(
            {"notebook": notebook, "cost": spent, "saved": saved, "usage": asdict(usage), "runs": each}
        )
    spent, saved, usage = total(runs)
    return {"cost": spent, "saved": saved, "usage": asdict(usage), "notebooks": notebooks}
