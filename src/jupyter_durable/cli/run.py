"""`jupyter durable run`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from jupyter_durable.cli import Complaint, json_option, store_option
from jupyter_durable.cli.text import from_here
from jupyter_durable.errors import DurableError, LeaseHeldError


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT",
    help="Where the executed notebook goes. Default: NB.out.ipynb beside NB.ipynb, which is never modified.",
)
@click.option(
    "-p",
    "--parameter",
    "given",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Assign a variable after the cell tagged `parameters`. VALUE may be a number, true, false, null, JSON, or text.",
)
@click.option(
    "-f",
    "--parameters-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Parameters from a .json, .toml or .yaml file; -p goes before it.",
)
@store_option
@click.option(
    "--max-restarts",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="Give up when the kernel died more than N times without the job getting any further.",
)
@click.option("--new", is_flag=True, help="Start afresh, even if this job was begun and not finished.")
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="Interrupt a cell that takes longer. Default: none does.",
)
@click.option("--kernel", metavar="NAME", help="Use this kernel. Default: the notebook's own.")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    notebook: Path,
    output: Path | None,
    given: tuple[tuple[str, str], ...],
    parameters_file: Path | None,
    store: str | None,
    max_restarts: int,
    new: bool,
    timeout: int | None,
    kernel: str | None,
    as_json: bool,
) -> None:
    """Run every cell of NOTEBOOK, whatever happens to its kernel.

    A kernel that dies is started again: set-up cells run again, cells marked %%durable continue at
    the step that was cut off. The same command finds a job that was not finished and resumes it.

    \b
    Exit codes:  0  done
                 1  a cell failed (fix it and run the same command again)
                 2  the command, the notebook or a parameter is wrong
                 3  the kernel died too often, or did not start
                75  the job waits for a person, a signal or a timer
               130  interrupted
    """
    from jupyter_durable.headless import parameters as params
    from jupyter_durable.headless.job import open_job
    from jupyter_durable.headless.runner import run_job

    def tell(line: str) -> None:
        click.echo(line, err=True)

    try:
        values = params.read_file(parameters_file) if parameters_file else {}
        values |= {name: params.parse(value) for name, value in given}
        job = open_job(notebook, output, parameters=values, store=store, new=new)
        if job.resumed:
            tell(f"resuming job {job.id} (--new starts afresh)")
        report = run_job(job, max_restarts=max_restarts, timeout=timeout, kernel=kernel, tell=tell)
    except LeaseHeldError as error:
        raise Complaint(error) from error
    except DurableError as error:
        raise Complaint(error, exit_code=2) from error

    again = "run the same command again to go on: what is completed is not done twice"
    out = from_here(report.output)
    match report.status:
        case "completed":
            tell(f"done: {out}")
        case "failed":
            tell(f"error: {report.where} failed: {report.error}\n  hint: its traceback is in {out}; {again}")
        case "waiting":
            tell(
                f"cell {report.cell} waits: {report.error}\n  hint: see `jupyter durable ls --status waiting`, then {again}"
            )
        case "interrupted":
            tell(f"interrupted in {report.where}; saved in {out}\n  hint: {again}")
        case _:
            tell(f"error: {report.error}\n  hint: {out} holds what was done; {again}")
    if as_json:
        click.echo(json.dumps(report.as_json()))
    ctx.exit(report.exit_code)
