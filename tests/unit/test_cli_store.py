"""`ls`, `show`, `verify` and the decisions, on a store that a real process left behind."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jupyter_durable.cli import main

SCRIPT = """
import os, sys
import jupyter_durable as durable

@durable.tool
def search(q):
    return [q.upper()]

@durable.tool
def read(page):
    raise LookupError(f"no page {page}")

@durable.tool(effect="unsafe")
def send(to):
    if not os.path.exists("calm"):
        os._exit(9)
    return "sent now"

@durable.run("mail", store="journal.db")
def agent():
    search("a")
    try:
        read(7)
    except LookupError:
        pass
    return send("me")

print(agent())
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `journal.db` holds one run that was killed inside an unsafe step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTER_DURABLE_STORE", "journal.db")
    Path("agent.py").write_text(SCRIPT)
    assert agent().returncode == 9
    return tmp_path


def agent() -> subprocess.CompletedProcess[str]:
    """Run the script in a process of its own."""
    return subprocess.run([sys.executable, "agent.py"], capture_output=True, text=True, check=False)


def call(*arguments: str, ok: bool = True) -> Result:
    """`jupyter durable ...` in this process."""
    result = CliRunner().invoke(main, arguments)
    assert not ok or result.exit_code == 0, result.output
    return result


def read(*arguments: str) -> Any:
    """What the command prints with --json."""
    return json.loads(call(*arguments, "--json").stdout)


@pytest.mark.slow
def test_ls_has_the_shape_that_programs_rely_on() -> None:
    """The keys of `ls --json` are those the project promised, and the counts are right."""
    (run,) = read("ls")

    assert set(run) >= {
        *("id", "name", "status", "notebook", "cell_id", "created_at"),
        *("updated_at", "steps", "parent_id", "forked_at"),
    }
    assert (run["name"], run["status"]) == ("mail", "interrupted")
    assert run["steps"] == {"completed": 1, "running": 0, "waiting": 0, "in_doubt": 1, "failed": 1}
    assert run["updated_at"] >= run["created_at"] > 1.7e9


@pytest.mark.slow
def test_ls_filters_and_says_when_there_is_nothing() -> None:
    """`--status` and `--name` narrow the list; an empty one is said in words, or as []."""
    assert len(read("ls", "--status", "interrupted", "--name", "mail")) == 1
    assert read("ls", "--status", "completed") == []
    assert call("ls", "--name", "nobody").output == "no runs named nobody in this store\n"
    assert call("ls", "--status", "nonsense", ok=False).exit_code == 2


@pytest.mark.slow
def test_show_has_the_shape_that_programs_rely_on() -> None:
    """`show --json` is the run with its steps, each with the promised keys."""
    (listed,) = read("ls")

    run = read("show", listed["id"][:10])

    more = ("steps", "waits")
    assert {k: v for k, v in run.items() if k not in more} == {
        k: v for k, v in listed.items() if k not in more
    }
    assert [wait["kind"] for wait in run["waits"]] == ["doubt"]
    search, page, send = run["steps"]
    assert set(search) >= {
        *("id", "scope", "kind", "name", "status", "attempts", "arguments"),
        *("result", "error", "started_at", "ended_at", "replays"),
    }
    assert (search["name"], search["kind"], search["status"], search["attempts"]) == (
        "search",
        "tool",
        "completed",
        1,
    )
    assert "'a'" in search["arguments"]
    assert "'A'" in search["result"]
    assert (page["status"], page["error"]) == ("failed", "LookupError: no page 7")
    assert (send["status"], send["ended_at"]) == ("in_doubt", None)
    alone = read("show", run["id"], search["id"])
    assert {key: value for key, value in alone.items() if key in search} == search


@pytest.mark.slow
def test_the_tables_are_readable_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """For people: a line for each run or step, none wider than the terminal, and what to do next."""
    monkeypatch.setenv("COLUMNS", "80")
    (run,) = read("ls")

    table, steps = call("ls").output, call("show", run["id"]).output

    assert table.splitlines()[0].split() == ["RUN", "NAME", "STATUS", "STEPS", "UPDATED", "NOTEBOOK"]
    assert table.splitlines()[1].split()[:4] == [run["id"][:8], "mail", "interrupted", "1/3"]
    assert "search('a')" in steps
    assert "read: LookupError: no page 7" in steps
    assert "may or may not have happened" in steps
    assert max(map(len, (table + steps).splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decision", "ends"),
    [
        (("retry",), "sent now"),
        (("supply", '"sent before"'), "sent before"),
        (("fail", "the server says no"), "the server says no"),
    ],
)
def test_a_person_decides_about_a_step_in_doubt(decision: tuple[str, ...], ends: str) -> None:
    """Until somebody decides, running again goes no further; then it does what was decided."""
    (run,) = read("ls")
    step = read("show", run["id"])["steps"][-1]["id"]
    Path("calm").touch()
    undecided = agent()

    said = call(decision[0], run["id"][:10], step, *decision[1:]).output
    decided = agent()

    assert undecided.returncode == 1
    assert "sent now" not in undecided.stdout
    assert step in said
    assert ends in (decided.stdout if decided.returncode == 0 else decided.stderr)
    again = call(decision[0], run["id"], step, *decision[1:], ok=False)
    assert again.exit_code == 1
    assert "hint: " in again.stderr


@pytest.mark.slow
def test_a_cancelled_run_is_not_resumed() -> None:
    """`cancel` ends a run without a process at once; running the script again starts another."""
    (run,) = read("ls")

    assert read("cancel", run["id"]) == {"run": run["id"], "step": None, "status": "cancelled"}
    Path("calm").touch()
    assert agent().stdout == "sent now\n"

    assert {r["status"] for r in read("ls")} == {"cancelled", "completed"}


@pytest.mark.slow
def test_what_is_not_there_is_said_so() -> None:
    """An unknown run or step ends with 1, a hint and no traceback."""
    (run,) = read("ls")
    for arguments in (
        ("show", "ffffffff"),
        ("show", run["id"], "99.99"),
        ("retry", run["id"], "99.99"),
        ("verify", "ffffffff"),
    ):
        result = call(*arguments, ok=False)

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error: ")
        assert "hint: " in result.stderr


@pytest.mark.slow
def test_verify_passes_an_unaltered_store_and_names_what_was_altered() -> None:
    """Exit code 0 and [] before, 1 and the run after somebody changed a byte of its journal."""
    (run,) = read("ls")
    assert read("verify") == []
    assert call("verify", run["id"]).output == "everything verifies\n"

    with sqlite3.connect("journal.db") as db:
        db.execute("UPDATE entries SET meta = replace(meta, 'search', 'seerch')")
        assert db.total_changes

    result = call("verify", "--json", ok=False)
    assert result.exit_code == 1
    problems = json.loads(result.stdout)
    assert problems[0]["run_id"] == run["id"]
    assert all(set(p) == {"run_id", "where", "what"} for p in problems)
    assert call("verify", ok=False).exit_code == 1
