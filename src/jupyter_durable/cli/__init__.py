"""`jupyter durable ...`: run notebooks as jobs, look at runs, decide about steps.

A command parses, calls one function of the package, and prints. What it needs is imported when it
runs, so that `jupyter durable --help` answers at once.
"""

from __future__ import annotations

from typing import IO, Any

import click

from jupyter_durable.errors import DurableError


class Complaint(click.ClickException):
    """A `DurableError` as the command line shows it: what happened and the next step, no traceback."""

    def __init__(self, error: DurableError, exit_code: int = 1) -> None:
        super().__init__(str(error))
        self.exit_code = exit_code  # type: ignore[misc]  # click's own way to set it

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to stderr."""
        click.echo(f"error: {self.message}", file=file, err=file is None)


class _Commands(click.Group):
    """Loads a command's module when the command is asked for, and turns our errors into complaints."""

    modules = {  # noqa: RUF012 - click's Group keeps its own state on the instance
        "run": "run",
        "submit": "queue",
        "worker": "queue",
        "resume": "run",
        "jobs": "queue",
        "wait": "queue",
        "ls": "look",
        "show": "look",
        "cost": "cost",
        "export": "export",
        "verify": "look",
        "waits": "people",
        "approve": "people",
        "reject": "people",
        "answer": "people",
        "signal": "people",
        "retry": "decide",
        "supply": "decide",
        "fail": "decide",
        "cancel": "decide",
        "fork": "travel",
        "diff": "travel",
        "delete": "travel",
        "budget": "cost",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order people meet them."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in self.modules:
            return None
        from importlib import import_module

        module = import_module(f"jupyter_durable.cli.{self.modules[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def main(self, *args: Any, **options: Any) -> Any:
        """The entry point; `jupyter` calls us by another name than people do."""
        return super().main(*args, **options | {"prog_name": "jupyter durable"})

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except DurableError as error:
            raise Complaint(error) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jupyter-durable", prog_name="jupyter durable")
def main() -> None:
    """Durable execution for agents in notebooks.

    \b
    jupyter durable run NOTEBOOK     run every cell; call it again to resume
    jupyter durable ls               the runs in the store
    jupyter durable show RUN         one run, step by step
    """


store_option = click.option(
    "--store",
    metavar="PATH|URL",
    envvar="JUPYTER_DURABLE_STORE",
    help="The journal to use. Default: JUPYTER_DURABLE_STORE, else the one in the Jupyter data folder.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
