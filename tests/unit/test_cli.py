"""The command line without a kernel: what is said, in which form, with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner, Result

from jupyter_durable.cli import main, text
from jupyter_durable.errors import DurableError
from jupyter_durable.headless import parameters


def call(*arguments: str) -> Result:
    """`jupyter durable ...` in this process."""
    return CliRunner().invoke(main, arguments)


def test_help_lists_every_command_and_imports_next_to_nothing() -> None:
    """`jupyter durable --help` answers at once: no notebook, database or model library is imported."""
    script = """
import sys
from jupyter_durable.cli import main
try:
    main(["--help"])
finally:
    heavy = {"IPython", "nbclient", "nbformat", "sqlite3", "sqlite_utils", "pydantic", "jupyter_client", "asyncio"}
    print("imported:", sorted(heavy & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "imported: []" in done.stdout
    for command in ("run", "ls", "show", "verify", "retry", "supply", "fail", "cancel"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", ["run", "ls", "show", "verify", "retry", "supply", "fail", "cancel"])
def test_every_command_has_help_and_json(command: str) -> None:
    """Each command explains itself and can print JSON."""
    result = call(command, "--help")

    assert result.exit_code == 0
    assert "--json" in result.output
    assert "Usage: jupyter durable" in result.output


def test_an_unknown_command_is_a_usage_error() -> None:
    """A typo ends with 2, as for every command line program."""
    assert call("rnu").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.ipynb"], "cannot read"),
        (["broken.ipynb"], "no valid notebook"),
        (["nb.ipynb", "-o", "nb.ipynb"], "overwrite the notebook itself"),
        (["nb.ipynb", "-p", "not-a-name", "1"], "no name of a variable"),
        (["nb.ipynb", "-f", "missing.json"], "cannot read the parameters"),
        (["nb.ipynb", "-f", "list.json"], "does not hold parameters"),
        (["nb.ipynb", "-f", "dates.toml"], "parameter since is a date"),
        (["nb.ipynb", "--kernel", "nope"], "no kernel called 'nope'"),
    ],
)
def test_a_users_mistake_is_two_lines_on_stderr(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong, a hint, exit code 2, nothing on stdout, no traceback, nothing written."""
    monkeypatch.chdir(tmp_path)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), "nb.ipynb")
    Path("broken.ipynb").write_text("{")
    Path("list.json").write_text("[1]")
    Path("dates.toml").write_text("since = 2026-01-01")
    before = sorted(tmp_path.iterdir())

    result = call("run", *arguments, "--json", "--store", str(tmp_path / "journal.db"))

    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
    assert [p for p in sorted(tmp_path.iterdir()) if not p.name.startswith("journal")] == before


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("7", 7),
        ("-1.5e3", -1500.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("None", None),
        ('[1, "a"]', [1, "a"]),
        ('{"a": null}', {"a": None}),
        ('"7"', "7"),
        ("seven", "seven"),
        ("[not json", "[not json"),
        ("", ""),
    ],
)
def test_a_parameter_is_what_a_person_means(given: str, meant: Any) -> None:
    """Numbers, words for truth and JSON get their types; everything else is text."""
    parsed = parameters.parse(given)

    assert (parsed, type(parsed)) == (meant, type(meant))


def test_an_injected_cell_assigns_equal_values() -> None:
    """The code of the injected cell, executed, gives the parameters back."""
    values = {"a": [1, {"b": None}], "t": 'it\'s \n "quoted"', "n": float("inf"), "f": -0.5}
    namespace: dict[str, Any] = {}

    exec(parameters.source(values), namespace)

    assert {name: namespace[name] for name in values} == values


def test_parameters_go_after_their_tag_and_replace_what_was_injected_before() -> None:
    """The injected cell follows the tagged one; injecting again leaves one cell; without a tag it goes first."""
    new_cell = nbformat.v4.new_code_cell
    nb = nbformat.v4.new_notebook(
        cells=[new_cell("1"), new_cell("x = 0", metadata={"tags": ["parameters"]}), new_cell("2")]
    )
    plain = nbformat.v4.new_notebook(cells=[new_cell("1")])

    parameters.inject(nb, {"x": 1})
    parameters.inject(nb, {"x": 2})
    parameters.inject(plain, {"x": 3})

    assert [c.source for c in nb.cells] == ["1", "x = 0", "# Parameters\nx = 2", "2"]
    assert [c.source for c in plain.cells] == ["# Parameters\nx = 3", "1"]
    nbformat.validate(nb)


def test_parameter_files_are_read_by_their_kind(tmp_path: Path) -> None:
    """JSON and TOML say the same thing; their digest does not depend on the order."""
    (tmp_path / "p.json").write_text(json.dumps({"b": [1], "a": "x"}))
    (tmp_path / "p.toml").write_text('a = "x"\nb = [1]\n')

    first, second = (parameters.read_file(tmp_path / name) for name in ("p.json", "p.toml"))

    assert first == second == {"a": "x", "b": [1]}
    assert parameters.digest(first) == parameters.digest(second) != parameters.digest({})


def test_a_yaml_file_is_read_or_the_missing_reader_is_named(tmp_path: Path) -> None:
    """YAML works where PyYAML is installed, and the error says so where it is not."""
    (tmp_path / "p.yaml").write_text("a: x\nb: [1]\n")
    try:
        import yaml  # noqa: F401
    except ImportError:
        with pytest.raises(DurableError, match="no YAML reader") as caught:
            parameters.read_file(tmp_path / "p.yaml")
        assert "pip install pyyaml" in caught.value.hint
    else:
        assert parameters.read_file(tmp_path / "p.yaml") == {"a": "x", "b": [1]}


def test_short_ids_are_unique_and_long_enough() -> None:
    """Each prefix belongs to one id only, is at least 8 long, and never ends at a dash."""
    ids = ["0199f2ab-3c1d-7a00", "0199f2ab-3c1d-7b00", "0199f2ab-4000-7000", "0200aaaa-0000-7000"]

    found = text.prefixes(ids)

    assert all([i for i in ids if i.startswith(found[this])] == [this] for this in ids)
    assert found["0200aaaa-0000-7000"] == "0200aaaa"
    assert not any(p.endswith("-") for p in found.values())


def test_tables_fit_the_terminal() -> None:
    """Columns line up, and the last is cut so that no line is wider than asked."""
    table = text.table(["ID", "CALL"], [["1", "x" * 200], ["12345", "a\nb"]], width=80)

    lines = table.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) == 80
    assert [line[7:8] for line in lines] == ["C", "x", "a"]
