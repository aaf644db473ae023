"""`jupyter durable export`: a run as a report, data, spans or a regression test."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import click

from jupyter_durable.cli import json_option, store_option

_FORMATS = ("html", "json", "otel", "pytest")


@click.command()
@click.argument("run", required=False)
@click.option(
    "--format",
    "format_",
    type=click.Choice(_FORMATS),
    default="html",
    show_default=True,
    help="html: a report in one file. json: data, by --schema. otel: OpenTelemetry spans. pytest: a regression test.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to; - for standard output. Default: a file named after the run, here.",
)
@click.option(
    "--endpoint", metavar="URL", help="otel: send the spans to this collector, as http://127.0.0.1:4318."
)
@click.option("--schema", is_flag=True, help="Print the JSON schema of --format json, and do nothing else.")
@store_option
@json_option
def export(
    run: str | None,
    format_: str,
    output: str | None,
    endpoint: str | None,
    schema: bool,
    store: str | None,
    as_json: bool,
) -> None:
    """Write a RUN to a file for somewhere else. Secrets are masked in all formats."""
    if schema:
        from jupyter_durable.export.document import schema as document

        click.echo(json.dumps(document(), indent=2))
        return
    if run is None:
        raise click.UsageError("say which RUN: jupyter durable ls lists them")
    from jupyter_durable.export import folder_of
    from jupyter_durable.session import open_store

    how: dict[str, Any] = {}
    if endpoint is not None:
        how["endpoint"] = endpoint
    if format_ == "pytest" and output != "-":
        how["folder"] = folder_of(output, format_)
    with closing(open_store(store)) as opened:
        made = opened.export(run, format=format_, **how)
    if output == "-":
        if len(made.files) > 1:
            raise click.UsageError(f"{format_} makes {len(made.files)} files: give -o a folder")
        click.echo(made.text, nl=False)
        return
    paths = made.write(output) if made.files else []
    if as_json:
        said = {"run": made.run, "format": made.format, "files": [str(path) for path in paths]}
        click.echo(json.dumps(said | {"left_out": list(made.left_out), "says": made.says}))
        return
    for path in paths:
        click.echo(str(path))
    if made.says:
        click.echo(made.says, err=True)
    for one in made.left_out:
        click.echo(f"not in it: {one}", err=True)
