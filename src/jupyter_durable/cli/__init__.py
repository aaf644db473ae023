"""`jupyter durable ...`: run notebooks as jobs, look at runs, decide about steps.

A command parses, calls one function of the package, and prints. What it needs is imported when it
runs, so that `jupyter durable --help` answers at once.
"""

from __future__ import annotations

import os
import re
from typing import IO, Any

import click

from jupyter_durable.errors import DurableError, StoreError

COMPLETE = "_JUPYTER_DURABLE_COMPLETE"
"""The variable by which a shell asks what may come next."""


def typed(text: str) -> str:
    """What an error says to type, as it is typed at a command line.

    >>> typed("%durable list shows them; %durable fork 0192 bases one on it; %%durable --new")
    'jupyter durable ls shows them; jupyter durable fork 0192 bases one on it; %%durable --new'
    """
    text = re.sub(r"(?<!%)%durable list\b", "jupyter durable ls", text)
    verbs = "|".join(_Commands.modules)
    return re.sub(rf"(?<!%)(?<!notebook: )%durable (?=({verbs})\b)", "jupyter durable ", text)


class Complaint(click.ClickException):
    """A `DurableError` as the command line shows it: what happened and the next step, no traceback."""

    def __init__(self, error: DurableError, exit_code: int = 1) -> None:
        super().__init__(typed(str(error)))
        self.exit_code = exit_code  # type: ignore[misc]  # click's own way to set it

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to stderr."""
        click.echo(f"error: {self.message}", file=file, err=file is None)


class _Commands(click.Group):
    """Loads a command's module when the command is asked for, and turns our errors into complaints."""

    modules = {  # noqa: RUF012 - click's Group keeps its own state on the instance
        "run": "run",
        "resume": "run",
        "submit": "queue",
        "worker": "queue",
        "jobs": "queue",
        "wait": "queue",
        "ls": "look",
        "show": "look",
        "watch": "watch",
        "cost": "cost",
        "diff": "travel",
        "export": "export",
        "waits": "people",
        "approve": "people",
        "reject": "people",
        "answer": "people",
        "signal": "people",
        "cancel": "decide",
        "retry": "decide",
        "supply": "decide",
        "fail": "decide",
        "budget": "cost",
        "fork": "travel",
        "store": "keep:store_",
        "verify": "look",
        "doctor": "doctor",
        "gc": "keep",
        "delete": "travel",
        "backup": "keep",
        "copy": "keep",
        "import": "keep:import_",
        "completion": "completing",
    }
    sections = {  # noqa: RUF012 - the command with which each begins
        "run": "Jobs",
        "ls": "Look",
        "waits": "Decide",
        "store": "Keep",
    }

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by what they are for."""
        rows: list[tuple[str, str]] = []
        title = ""

        def write() -> None:
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

        for name in self.list_commands(ctx):
            if name in self.sections:
                write()
                title, rows = self.sections[name], []
            command = self.get_command(ctx, name)
            if command is not None:
                rows.append((name, command.get_short_help_str(formatter.width - 16)))
        write()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order people meet them."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in self.modules:
            return None
        from importlib import import_module

        where, _, name = self.modules[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"jupyter_durable.cli.{where}"), name or cmd_name)
        if COMPLETE in os.environ:
            from jupyter_durable.cli.completing import complete

            return complete(command)
        return command

    def main(self, *args: Any, **options: Any) -> Any:
        """The entry point; `jupyter` calls us by another name than people do."""
        return super().main(*args, **options | {"prog_name": "jupyter durable", "complete_var": COMPLETE})

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except DurableError as error:
            raise Complaint(error) from error
        except click.UsageError as error:
            name = ctx.invoked_subcommand
            if error.ctx is None and name is not None and (command := self.get_command(ctx, name)):
                error.ctx = click.Context(command, parent=ctx, info_name=name)  # then it says what to type
            raise
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)
        except BrokenPipeError:
            raise  # click's own business: whoever read has seen enough
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise Complaint(
                DurableError(what, hint="see that it is there, and that you may use it")
            ) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jupyter-durable", prog_name="jupyter durable")
def main() -> None:
    """Durable execution for agents in notebooks.

    \b
    jupyter durable run NOTEBOOK     run every cell; call it again to resume
    jupyter durable ls               the runs in the store
    jupyter durable show RUN         one run, step by step
    jupyter durable doctor           whether all is well here

    
    Exit codes:  0  done
                 1  it could not be done, or what was asked about is not as it should be
                 2  the command was used wrongly
    `run`, `resume`, `wait` and `watch` have more: see their --help. Results go to stdout, complaints with a hint to stderr.
    """


_MAKE = ("run", "submit", "worker", "import", "store", "doctor")
"""Commands for which a store need not be there; but for the last two they make it."""
_NEED = ("verify", "backup")
"""Those that say nothing of a store that is not there, wherever its name came from."""


def _is_there(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A name that was mistyped is no empty store."""
    from click.core import ParameterSource

    named = ctx.get_parameter_source(str(param.name)) == ParameterSource.COMMANDLINE
    if ctx.resilient_parsing or ctx.info_name in _MAKE or not (named or ctx.info_name in _NEED):
        return value
    from jupyter_durable.store.place import resolve

    path = resolve(value)
    if path is not None and not path.exists():
        raise StoreError(
            f"there is no store {path}",
            hint="`jupyter durable store` says which is used otherwise; the first run makes one",
        )
    return value


store_option = click.option(
    "--store",
    metavar="PATH|URL",
    envvar="JUPYTER_DURABLE_STORE",
    callback=_is_there,
    help="The journal to use. Default: JUPYTER_DURABLE_STORE, else the one in the Jupyter data folder.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
