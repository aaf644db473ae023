"""`jupyter durable completion`, and what Tab offers for a run, a job or a step."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from jupyter_durable.cli import COMPLETE, json_option

_MOST = 50
_PLACES = {
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/completions/jupyter-durable.fish",
}
# `jupyter` belongs to all of Jupyter: whatever completes it goes on doing so.
_OF_JUPYTER = """
_jupyter_durable_of_jupyter() {
    if (( COMP_CWORD > 1 )) && [[ ${COMP_WORDS[1]} == durable ]]; then
        local words=(jupyter-durable "${COMP_WORDS[@]:2}")
        local COMP_WORDS=("${words[@]}") COMP_CWORD=$((COMP_CWORD - 1))
        _jupyter_durable_completion jupyter-durable
    elif [[ -n $_jupyter_durable_before ]]; then
        "$_jupyter_durable_before" "$@"
    elif (( COMP_CWORD == 1 )); then
        COMPREPLY=($(compgen -W durable -- "$2"))
    fi
}

if [[ $(complete -p jupyter 2>/dev/null) =~ -F\\ ([^ ]+) && ${BASH_REMATCH[1]} != _jupyter_durable_of_jupyter ]]; then
    _jupyter_durable_before=${BASH_REMATCH[1]}
fi
complete -o default -F _jupyter_durable_of_jupyter jupyter
"""


@click.command()
@click.argument("shell", type=click.Choice(sorted(_PLACES)))
@json_option
@click.pass_context
def completion(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print what makes Tab complete commands, options, runs and steps in your SHELL.

    \b
    eval "$(jupyter-durable completion bash)"       in ~/.bashrc; the same for zsh
    jupyter-durable completion fish > ~/.config/fish/completions/jupyter-durable.fish

    In bash for `jupyter durable` and for `jupyter-durable`, the same program by one word; in the other shells for the
    latter: what they do for `jupyter ...` is Jupyter's.
    """
    found = get_completion_class(shell)
    assert found is not None
    source = found(ctx.find_root().command, {}, "jupyter-durable", COMPLETE).source()
    if shell == "bash":
        source += _OF_JUPYTER
    if as_json:
        click.echo(json.dumps({"shell": shell, "place": _PLACES[shell], "source": source}))
    else:
        click.echo(source)


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids and names of runs that begin like this; nothing if there is no store."""
    found: list[CompletionItem] = []
    with suppress(Exception), closing(_store(ctx)) as opened:
        for record in opened.journal.runs(limit=200):
            if record.id.startswith(incomplete):
                found.append(CompletionItem(record.id[:13], help=f"{record.name}, {record.status}"))
            if record.name.startswith(incomplete):
                found.append(CompletionItem(record.name, help=record.status))
    return list({item.value: item for item in found}.values())[:_MOST]


def steps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Steps of the run that stands before."""
    found: list[CompletionItem] = []
    run = ctx.params.get("run")
    with suppress(Exception), closing(_store(ctx)) as opened:
        there = [step for step in opened.steps(str(run)) if step.id.startswith(incomplete)]
        found += [CompletionItem(step.id, help=f"{step.name}, {step.status}") for step in there]
    return found[:_MOST]


def _store(ctx: click.Context) -> Any:
    from jupyter_durable.session import open_store
    from jupyter_durable.store.place import resolve

    url = ctx.params.get("store")
    path = resolve(url)
    if path is None or not path.exists():
        raise FileNotFoundError  # asking must not make one
    return open_store(url)


def complete(command: click.Command) -> click.Command:
    """Let Tab offer what the arguments of a command may be."""
    for param in command.params:
        how = {"run": runs, "step": steps, "what": runs}.get(param.name or "")
        if how is not None and isinstance(param, click.Argument):
            param._custom_shell_complete = how
    return command
