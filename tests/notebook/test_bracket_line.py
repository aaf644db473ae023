"""What the `%%durable` line may say, and where a cell finds out that it runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from jupyter_durable.kernel.arguments import (
    MADE_OF,
    CellArguments,
    flags,
    help_text,
    made_of,
    parse,
    recorded,
)
from jupyter_durable.kernel.where import where


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", CellArguments()),
        ("research", CellArguments(name="research")),
        ("research --new --plan", CellArguments(name="research", new=True, plan=True)),
        ("--resume 0199 research", CellArguments(name="research", resume="0199")),
        ("--replay=0199", CellArguments(replay="0199")),
        ("n --rerun-from 'fetch#2'", CellArguments(name="n", rerun_from="fetch#2")),
        ("--tool 'fetch_*' --tool=\"send *\"", CellArguments(tools=("fetch_*", "send *"))),
        (r"--store C:\data\j.db", CellArguments(store=r"C:\data\j.db")),
        ("--park-after 1.5", CellArguments(park_after=1.5)),
        ("--park-after 0", CellArguments(park_after=0.0)),
        ("--capture http,mcp --capture tools", CellArguments(capture=frozenset({"http", "mcp", "tools"}))),
        ("--pace", CellArguments(pace=True)),
        ("n --no-capture", CellArguments(name="n", capture=frozenset())),
        ("--no-capture http,mcp", CellArguments(capture=frozenset({"tools", "models"}))),
        ("--capture http,mcp --no-capture mcp", CellArguments(capture=frozenset({"http"}))),
        ("--ignore-host a.b --ignore-host '*.c'", CellArguments(ignore_hosts=("a.b", "*.c"))),
    ],
)
def test_line(line: str, expected: CellArguments) -> None:
    """Each option is read into its field; quotes group words."""
    assert parse(line) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--resum 1", "did you mean --resume?"),
        ("--new --resume 1", "not allowed with argument --new"),
        ("--new --rerun-from x", "--rerun-from needs the run it forks"),
        ("a b", "unrecognized arguments: b"),
        ("--park-after soon", "invalid number of seconds value: 'soon'"),
        ("--park-after -1", "--park-after"),
        ("--park-after nan", "invalid number of seconds value"),
        ("--tool 'open", "no closing quotation in: --tool 'open"),
        ("--re 1", "unrecognized"),
        ("--capture https", "'https' is not tools, models, http or mcp"),
        ("--no-capture research", "a name comes first"),
    ],
)
def test_bad_line(line: str, words: str) -> None:
    """A line that cannot be read is a UsageError that says what is wrong and carries a hint."""
    with pytest.raises(UsageError) as caught:
        parse(line)
    assert words in str(caught.value)
    assert "\n  hint: " in str(caught.value)


@pytest.mark.parametrize(
    "line", ["--tool 'a b*' --tool c", "--no-capture", "--capture models,http --ignore-host '*.x'"]
)
def test_what_a_run_is_made_of(line: str) -> None:
    """A run remembers it, and a command that continues the run says it again."""
    given = parse(line)
    assert recorded({MADE_OF: made_of(given)}) == given
    assert flags(given) == f" {line}"
    assert flags(recorded({})) == ""


def test_variables_are_expanded() -> None:
    """`$name` and `{expression}` come from the user's namespace, never from ours."""
    shell = InteractiveShell()
    shell.user_ns.update(topic="ice", n=2)
    assert parse("$topic --tool {topic}_{n + 1}*", shell) == CellArguments(name="ice", tools=("ice_3*",))
    assert parse("$line", shell) == CellArguments(name="$line")


def test_help_names_every_option() -> None:
    """The text of `%%durable?` explains each option."""
    text = help_text()
    for option in (
        "--new",
        "--resume",
        "--replay",
        "--plan",
        "--rerun-from",
        "--tool",
        "--store",
        "--park-after",
        "--capture",
        "--no-capture",
        "--ignore-host",
    ):
        assert option in text


def kernel_shell(stdin: bool | None = False, **names: Any) -> Any:
    """A stand-in for a kernel's shell: its namespace, and the message it executes."""
    content = {} if stdin is None else {"allow_stdin": stdin}
    return SimpleNamespace(
        user_ns=names, kernel=SimpleNamespace(get_parent=lambda channel: {"content": content})
    )


def test_in_a_notebook_of_a_server() -> None:
    """JupyterLab and Notebook tell the path; somebody is there, even where stdin is not allowed."""
    place = where(kernel_shell(), "abc-1", environ={"JPY_SESSION_NAME": "/home/u/research.ipynb"})
    assert (place.notebook, place.interactive, place.job_id) == ("/home/u/research.ipynb", True, None)
    assert place.label == "Jupyter kernel for research.ipynb"
    assert (place.cell_id, place.has_cell_id) == ("abc-1", True)


def test_in_vs_code() -> None:
    """VS Code tells the path in a variable, and a document URI for a cell id."""
    shell = kernel_shell(stdin=True, __vsc_ipynb_file__="/w/a.ipynb")
    place = where(shell, "vscode-notebook-cell:/w/a.ipynb#W0sZmlsZQ", environ={})
    assert (place.notebook, place.interactive, place.has_cell_id) == ("/w/a.ipynb", True, False)
    assert place.label == "VS Code kernel for a.ipynb"


def test_in_our_runner() -> None:
    """Our runner's word counts more than what a surrounding notebook left in the environment."""
    environ = {
        "JPY_SESSION_NAME": "/outer.ipynb",
        "JUPYTER_DURABLE_NOTEBOOK": "/in/nb.ipynb",
        "JUPYTER_DURABLE_JOB": "0199aabb-1",
    }
    place = where(kernel_shell(stdin=True), environ=environ)
    assert (place.notebook, place.interactive, place.job_id) == ("/in/nb.ipynb", False, "0199aabb-1")
    assert place.label == "job 0199aabb for nb.ipynb"


@pytest.mark.parametrize("names", [{}, {"PAPERMILL_INPUT_PATH": "/p/n.ipynb"}])
def test_headless(names: dict[str, str]) -> None:
    """nbclient and papermill have nobody to ask; the path is known only if papermill was told to tell it."""
    place = where(kernel_shell(**names), environ={})
    assert (place.notebook, place.interactive) == (names.get("PAPERMILL_INPUT_PATH"), False)


def test_without_a_parent_message() -> None:
    """A kernel that was sent no message that says so is not interactive."""
    assert not where(kernel_shell(stdin=None), environ={}).interactive


def test_inherited_session_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that a notebook's cell started does not take that notebook's name for its own."""
    from jupyter_durable.kernel import where as module

    monkeypatch.setattr(module, "_parent_session", lambda: "/outer.ipynb")
    place = where(kernel_shell(), environ={"JPY_SESSION_NAME": "/outer.ipynb"})
    assert (place.notebook, place.interactive) == (None, False)
