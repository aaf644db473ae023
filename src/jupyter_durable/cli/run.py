"""`jupyter durable run`, `resume`: a job here and now."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jupyter_durable.cli import Complaint, json_option, store_option
from jupyter_durable.cli.progress import Progress, progress
from jupyter_durable.cli.text import from_here, moment
from jupyter_durable.errors import DurableError, LeaseHeldError

if TYPE_CHECKING:
    from jupyter_durable.headless.job import Job
    from jupyter_durable.headless.runner import JobReport


class Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.2
    """A number of seconds, or a duration as people write it; `never` is None."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `clock.duration`."""
        from jupyter_durable.clock import duration

        if value is None or isinstance(value, float):
            return value
        if str(value).strip().lower() == "never":
            return NEVER
        try:
            return duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


NEVER = float("inf")


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator, in the order in which the help lists them."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def output_option(says: str, *, folder: bool = False) -> Decorator:
    """`-o`. `folder`: it may be one."""
    kind = click.Path(path_type=Path, dir_okay=folder)
    return click.option("-o", "--output", type=kind, metavar="OUT", help=says)


parameter_options = together(
    click.option(
        "-p",
        "--parameter",
        "given",
        nargs=2,
        multiple=True,
        metavar="NAME VALUE",
        help="Assign a variable after the cell tagged `parameters`. VALUE may be a number, true, false, null, JSON, or text.",
    ),
    click.option(
        "-f",
        "--parameters-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Parameters from a .json, .toml or .yaml file; -p goes before it.",
    ),
)
"""What is assigned: `run`, `submit`."""

runner_options = together(
    click.option(
        "--max-restarts",
        type=click.IntRange(min=0),
        default=5,
        show_default=True,
        metavar="N",
        help="Give up when the kernel died more than N times without the job getting any further.",
    ),
    click.option(
        "--timeout",
        type=click.IntRange(min=1),
        metavar="SECONDS",
        help="Interrupt a cell that takes longer. Default: none does.",
    ),
    click.option(
        "--park-after",
        type=Seconds(),
        default="30",
        show_default=True,
        metavar="TIME",
        help="Leave when nothing but waiting is to be done for so long: a timer, a person, a signal. `never`: stay.",
    ),
    click.option(
        "--hang-after",
        type=Seconds(),
        default="120",
        show_default=True,
        metavar="TIME",
        help="End a kernel, and start it again, that does not answer for so long (busy is not silent).",
    ),
    click.option("--kernel", metavar="NAME", help="Use this kernel. Default: the notebook's own."),
)
"""How a job is run: `run`, `resume`, `submit`."""

here_options = together(
    store_option,
    runner_options,
    click.option("-q", "--quiet", is_flag=True, help="Say only what a person should know."),
    json_option,
    click.pass_context,
)
"""What a job that is run here and now is told: `run`, `resume`."""


def given_parameters(given: tuple[tuple[str, str], ...], file: Path | None) -> dict[str, Any]:
    """What `-f` and `-p` say together."""
    from jupyter_durable.headless import parameters as params

    values = params.read_file(file) if file else {}
    return values | {name: params.parse(value) for name, value in given}


def how(options: dict[str, Any]) -> dict[str, Any]:
    """The runner's options as it takes them."""
    return options | {"park_after": None if options["park_after"] == NEVER else options["park_after"]}


@click.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@output_option(
    "Where the executed notebook goes. Default: NB.out.ipynb beside NB.ipynb, which is never modified."
)
@parameter_options
@click.option("--new", is_flag=True, help="Start afresh, even if this job was begun and not finished.")
@here_options
def run(
    ctx: click.Context,
    /,
    notebook: Path,
    output: Path | None,
    given: tuple[tuple[str, str], ...],
    parameters_file: Path | None,
    store: str | None,
    new: bool,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run every cell of NOTEBOOK, whatever happens to its kernel.

    A kernel that dies is started again: set-up cells run again, cells marked %%durable continue at
    the step that was cut off. The same command finds a job that was not finished and resumes it.
    With --json, each line on stdout is an event; the last, "end", is the report.

    \b
    Exit codes:  0  done
                 1  a cell failed (fix it and run the same command again)
                 2  the command, the notebook or a parameter is wrong
                 3  the kernel died too often, or did not start
                 4  it was cancelled
                75  the job waits for a person, a signal or a timer
               130  interrupted (Ctrl+C; a second one ends it at once)
               143  told to end by SIGTERM: saved, and resumed by the same command
    """
    from jupyter_durable.headless.job import open_job

    with complaints():
        values = given_parameters(given, parameters_file)
        job = open_job(notebook, output, parameters=values, store=store, new=new)
        _go(ctx, job, how(options), as_json=as_json, quiet=quiet)


@click.command()
@click.argument("what")
@output_option("For a run that was begun in a notebook: where its cell's outputs go.")
@here_options
def resume(
    ctx: click.Context,
    /,
    what: str,
    output: Path | None,
    store: str | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Go on with a run, a job, or the unfinished job of a notebook.

    WHAT is the id of a run or a job (the beginning is enough), a run's name, or the path of a notebook or of its
    output. A run that was begun by hand in a notebook goes on by itself: its cell alone, in a kernel of its own;
    the notebook has its result when the cell is run there again. Exit codes are those of `run`.
    """
    from jupyter_durable.headless.resuming import find
    from jupyter_durable.store import connect

    with complaints(), closing(connect(store)) as journal:
        job = find(journal, what, output=output, url=store)
        _go(ctx, job, how(options), as_json=as_json, quiet=quiet)


class complaints:  # noqa: N801 - reads as the statement it is
    """What is wrong before a job begins, as exit codes: 1 for one that somebody else is at, 2 for the rest."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LeaseHeldError):
            raise Complaint(error) from error
        if isinstance(error, DurableError):
            raise Complaint(error, exit_code=2) from error


def _go(ctx: click.Context, job: Job, options: dict[str, Any], *, as_json: bool, quiet: bool) -> None:
    from jupyter_durable.headless.runner import run_job

    show: Progress = progress(as_json=as_json, quiet=quiet)
    try:
        if job.resumed:
            show.tell(f"resuming job {job.id} (--new starts afresh)")
        report = run_job(job, tell=show.tell, event=show.event, **options)
    finally:
        show.close()
    click.echo(ending(report), err=True)
    if as_json:
        show.event("end", **report.as_json())
    ctx.exit(report.exit_code)


def ending(report: JobReport) -> str:
    """How a call of a job ended, for a person: what is the matter, and what to type next."""
    again = "run the same command again to go on: what is completed is not done twice"
    out = from_here(report.output)
    match report.status:
        case "completed":
            return f"done: {out}"
        case "failed":
            return f"error: {report.where} failed: {report.error}\n  hint: its traceback is in {out}; {again}"
        case "waiting":
            until = f" until {moment(report.parked.until)}" if report.parked and report.parked.until else ""
            what = (
                f" for {report.parked.what}" if report.parked and report.parked.what else f": {report.error}"
            )
            ways = (
                f"`jupyter durable show {report.parked.run[:13]}` says how"
                if report.parked and report.parked.run
                else ""
            )
            return (
                f"cell {report.cell} waits{what}{until}\n  hint: {ways}; then {again}; "
                "or leave that to `jupyter durable worker`"
            )
        case "interrupted":
            return f"interrupted in {report.where}; saved in {out}\n  hint: {again}"
        case "cancelled":
            return f"cancelled in {report.where}: {report.error}"
        case _:
            return f"error: {report.error}\n  hint: {out} holds what was done; {again}"
