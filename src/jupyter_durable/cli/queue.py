"""`jupyter durable submit`, `worker`, `jobs`, `wait`: notebooks in a queue, and who does them."""

from __future__ import annotations

import csv
import json
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jupyter_durable.cli import json_option, store_option
from jupyter_durable.cli.progress import JsonLines
from jupyter_durable.cli.run import (
    Seconds,
    complaints,
    given_parameters,
    how,
    output_option,
    parameter_options,
    runner_options,
)
from jupyter_durable.cli.text import ago, from_here, moment, prefixes, short, span, table
from jupyter_durable.clock import SystemClock

if TYPE_CHECKING:
    from jupyter_durable.model import JobRecord


class Limit(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """KEY=N."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A pair."""
        key, _, most = str(value).rpartition("=")
        if not key or not most.isdigit() or int(most) < 1:
            self.fail(f"{value!r} is not KEY=N, as in openai=4", param, ctx)
        return key, int(most)


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@output_option("Where the executed notebook goes; with --many the folder for them all.", folder=True)
@parameter_options
@click.option(
    "--many",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.csv",
    help="A job for each line of a CSV file, whose first line has the names of the parameters.",
)
@click.option("--priority", type=int, default=0, show_default=True, help="The higher goes first.")
@click.option(
    "--max-concurrency",
    "limits",
    type=Limit(),
    multiple=True,
    metavar="KEY=N",
    help="Not more than N jobs with this KEY at once, whatever notebook they are of.",
)
@runner_options
@store_option
@json_option
def submit(
    notebook: Path,
    output: Path | None,
    given: tuple[tuple[str, str], ...],
    parameters_file: Path | None,
    many: Path | None,
    priority: int,
    limits: tuple[tuple[str, int], ...],
    store: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Put NOTEBOOK in the queue, for `jupyter durable worker` to run.

    \b
    jupyter durable submit report.ipynb -p city Oslo
    jupyter durable submit report.ipynb --many cities.csv --max-concurrency openai=4
    """
    from jupyter_durable.headless import queue
    from jupyter_durable.headless.runner import Options
    from jupyter_durable.store import connect

    with complaints(), closing(connect(store)) as journal:
        jobs = queue.submit(
            journal,
            notebook,
            parameters=given_parameters(given, parameters_file),
            many=queue.read_many(many) if many is not None else None,
            output=output,
            priority=priority,
            limits=dict(limits),
            options=Options(**how(options)),
        )
    batch = str(jobs[0].batch)
    if as_json:
        listed = [{"job": job.id, "output": job.output} for job in jobs]
        click.echo(json.dumps({"batch": batch, "jobs": listed}))
        return
    where = from_here(jobs[0].output if many is None else str(Path(jobs[0].output).parent))
    click.echo(f"{batch[:13]}: {len(jobs)} {'job' if len(jobs) == 1 else 'jobs'} queued; output in {where}")
    click.echo(
        f"`jupyter durable worker` does them, `jupyter durable wait {batch[:13]}` waits for them", err=True
    )


@click.command()
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="How many jobs at once; each has a kernel of its own.",
)
@click.option("--once", is_flag=True, help="End when nothing is to be done now; do not wait for more.")
@click.option(
    "--notebook-runs",
    is_flag=True,
    help="Also go on with runs that notebooks have left behind: parked ones, and those whose kernel died.",
)
@store_option
@json_option
def worker(concurrency: int, once: bool, notebook_runs: bool, store: str | None, as_json: bool) -> None:
    """Do jobs as they come due: submitted ones, parked ones whose timer, signal, answer or approval has come, and
    those whose process is gone.

    With --notebook-runs, also the cells that were begun by hand, in JupyterLab, say, as `jupyter durable resume RUN` does:
    the newest run of a notebook and name, if it is parked and need not wait any more, or if its kernel is gone without
    a word. Not what somebody interrupted (a kernel that is restarted or shut down is interrupted), nor what
    failed: that is the person's who did it. `jupyter durable ls` lists what there is, however old, and `cancel` ends it.

    As many workers as you like may share a store: a job is done by one of them at a time. SIGTERM and Ctrl+C interrupt
    what runs, save it, and leave it to the others; a second one does not wait. Exit code 0, also then.
    """
    from jupyter_durable.headless.worker import Worker
    from jupyter_durable.store import connect

    lines = JsonLines() if as_json else None
    with closing(connect(store)) as journal:
        at_work = Worker(
            journal,
            concurrency=concurrency,
            notebook_runs=notebook_runs,
            event=lines.event if lines is not None else lambda kind, **facts: None,
            tell=lambda line: click.echo(line, err=True),
        )
        before = {
            number: signal.signal(number, lambda number, frame: at_work.stop(signal.Signals(number).name))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            done = at_work.run(once=once)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    if lines is not None:
        lines.event("end", done=done)
    elif once:
        said = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(done.items()))
        click.echo(f"nothing more to be done now{': ' + said if said else ''}", err=True)


@click.command()
@click.argument("what", nargs=-1)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a column for each parameter.")
@store_option
@json_option
def jobs(what: tuple[str, ...], as_csv: bool, store: str | None, as_json: bool) -> None:
    """List jobs, with their parameters and what became of them.

    WHAT: ids of jobs or batches (the beginning is enough), or paths of notebooks. Default: all.
    """
    from jupyter_durable.headless import queue
    from jupyter_durable.store import connect

    with closing(connect(store)) as journal:
        found = queue.select(journal, what)
        rows = list(queue.table(journal, found))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif as_csv:
        _csv(rows)
    elif not rows:
        click.echo("no jobs in this store")
    else:
        _table(rows)


_COLUMNS = ("job", "status", "output", "result", "error", "cost", "seconds")


def _csv(rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row["parameters"]))
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([*names, *_COLUMNS])
    for row in rows:
        values = [row["parameters"].get(name, "") for name in names]
        texts = [v if isinstance(v, str) else json.dumps(v) if v != "" else "" for v in values]
        out.writerow([*texts, *("" if row[name] is None else row[name] for name in _COLUMNS)])


def _table(rows: list[dict[str, Any]]) -> None:
    now = SystemClock().now()
    ids = prefixes([row["job"] for row in rows])
    click.echo(
        table(
            ["JOB", "STATUS", "UPDATED", "TIME", "PARAMETERS", "RESULT"],
            (
                (
                    ids[row["job"]],
                    row["status"].replace("_", " "),
                    ago(now - row["updated_at"]),
                    span(row["seconds"]),
                    short(", ".join(f"{k}={v}" for k, v in row["parameters"].items()), 40),
                    short(_says(row), 80),
                )
                for row in rows
            ),
        )
    )


def _says(row: dict[str, Any]) -> str:
    if row["for"]:
        return f"waits for {row['for']}" + (f" until {moment(row['until'])}" if row["until"] else "")
    if row["status"] == "running":
        return str(row["owner"] or "")
    return str(row["error"] or row["result"] or from_here(row["output"]))


@click.command()
@click.argument("what", nargs=-1)
@click.option("--timeout", type=Seconds(), metavar="TIME", help="Wait no longer than this.")
@store_option
@json_option
@click.pass_context
def wait(
    ctx: click.Context, what: tuple[str, ...], timeout: float | None, store: str | None, as_json: bool
) -> None:
    """Wait until jobs have ended.

    WHAT: ids of jobs or batches, or paths; default: all jobs there are. A job that waits for somebody has not ended.

    \b
    Exit codes:  0  all have completed
                 1  some have not: they failed, were interrupted or cancelled
                75  not all have ended (--timeout)
               130  interrupted
    """
    from jupyter_durable.headless import queue
    from jupyter_durable.store import connect

    last = ""

    def seen(found: list[JobRecord]) -> None:
        nonlocal last
        now = _count(found)
        if now != last and not as_json:
            click.echo(now, err=True)
        last = now

    with closing(connect(store)) as journal:
        found, ended = queue.wait(journal, what, timeout=timeout, seen=seen)
        rows = list(queue.table(journal, found))
    completed = all(job.status == "completed" for job in found)
    if as_json:
        click.echo(json.dumps({"ended": ended, "completed": completed, "jobs": rows}))
    elif not (ended and completed):
        which = " ".join(["", *what])
        again = (
            f"; `jupyter durable retry --failed{which if len(what) == 1 else ''}` goes on with them"
            if ended
            else ""
        )
        click.echo(f"`jupyter durable jobs{which}` says what became of each{again}", err=True)
    ctx.exit(75 if not ended else 0 if completed else 1)


def _count(found: list[JobRecord]) -> str:
    counts: dict[str, int] = {}
    for job in found:
        counts[job.status] = counts.get(job.status, 0) + 1
    return ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in sorted(counts.items())) or "no jobs"
