"""`jupyter durable fork`, `diff`, `delete`: go on from a step with something else there, compare, forget."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from typing import Any

import click

from jupyter_durable.cli import json_option, store_option
from jupyter_durable.cli.decide import person


@click.command()
@click.argument("run")
@click.option("--at", required=True, metavar="STEP", help="The step, as `show` names it, by id or name.")
@click.option(
    "--set", "given", metavar="result=JSON", help="What the step gives, unmade: JSON, or else text."
)
@click.option("--arguments", metavar="JSON", help="Make it with these arguments, by name; others stay.")
@store_option
@json_option
def fork(
    run: str, at: str, given: str | None, arguments: str | None, store: str | None, as_json: bool
) -> None:
    """Make a run that goes on from a STEP of another one.

    The step has another result there, or is made with other arguments; with neither it is made again. What came before it
    replays. The fork is executed where it is resumed: run its cell or its job.
    """
    from jupyter_durable.headless.parameters import parse
    from jupyter_durable.session import open_store
    from jupyter_durable.session.change import UNSET
    from jupyter_durable.session.forking import fork as make

    result: Any = UNSET
    if given is not None:
        name, found, text = given.partition("=")
        if name.strip() != "result" or not found:
            raise click.UsageError(f"what is {given}? Write --set result=JSON")
        result = parse(text)
    named = None
    if arguments is not None:
        try:
            named = json.loads(arguments)
        except ValueError as error:
            raise click.UsageError(f"--arguments needs JSON: {error}") from None
        if not isinstance(named, dict):
            raise click.UsageError("""--arguments are given by name: '{"name": value}'""")
    with closing(open_store(store)) as opened:
        made = make(opened, run, at=at, result=result, arguments=named, by=person(), as_json=True)
    if as_json:
        click.echo(json.dumps(asdict(made)))
        return
    click.echo(str(made))
    click.echo(
        f"it is run {made.id}: run its cell or its job, or `%durable resume {made.id[:13]}` in its notebook"
    )


@click.command()
@click.argument("a")
@click.argument("b")
@store_option
@json_option
def diff(a: str, b: str, store: str | None, as_json: bool) -> None:
    """Compare two runs, step by step, with values: where they part first.

    Exits with 1 if something differs.
    """
    from jupyter_durable.session import open_store

    with closing(open_store(store)) as opened:
        found = opened.diff(a, b)
    if as_json:
        click.echo(json.dumps(asdict(found) | {"same": found.same}, indent=2))
    else:
        for line in str(found).splitlines():
            tint = {"+": "green", "-": "red"}.get(line[4:5]) if line.startswith("    ") else None
            click.secho(line, fg=tint)
    raise SystemExit(0 if found.same else 1)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@store_option
@json_option
def delete(runs: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Delete runs for good. What forks of one need of its journal stays until they are deleted, too."""
    from jupyter_durable.session import open_store

    done = []
    with closing(open_store(store)) as opened:
        for run in runs:
            info = opened.run(run)
            kept = opened.delete(info.id)
            done.append({"run": info.id, "name": info.name, "kept_for_forks": kept})
    if as_json:
        click.echo(json.dumps(done))
        return
    for each in done:
        also = "; what its forks need stays" if each["kept_for_forks"] else ""
        click.echo(f"run {each['run']} ({each['name']}) is deleted{also}")
