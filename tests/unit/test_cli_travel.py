"""`jupyter durable fork`, `diff`, `delete`, on a store that a real process left behind; a script goes on with the fork."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jupyter_durable.cli import main
from jupyter_durable.session import open_store

SCRIPT = """
from dataclasses import dataclass
import jupyter_durable as durable

def trace(line):
    with open("calls.txt", "a") as file:
        file.write(line + "\\n")

@dataclass
class Page:
    title: str

@durable.tool
def search(q: str, limit: int = 3) -> list[str]:
    trace(f"search {q} {limit}")
    return [q.upper()] * limit

@durable.tool
def read(title: str) -> Page:
    trace(f"read {title}")
    return Page(title)

@durable.tool
def send(to: str) -> str:
    trace(f"send {to}")
    return f"sent {to}"

@durable.run("mail", store="journal.db")
def agent() -> str:
    found = search("a")
    return send(f"{read(found[0]).title} {len(found)}")

print(agent())
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `journal.db` holds one run that has completed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTER_DURABLE_STORE", "journal.db")
    Path("agent.py").write_text(SCRIPT)
    assert script() == "sent A 3"
    return tmp_path


def script() -> str:
    """Run the script in a process of its own; what it printed."""
    done = subprocess.run([sys.executable, "agent.py"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def calls() -> list[str]:
    """The calls that were really made."""
    return Path("calls.txt").read_text().splitlines()


def cli(*words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, list(words))


def as_json(*words: str) -> Any:
    """What a command prints for programs."""
    return json.loads(cli(*words, "--json").stdout)


@pytest.mark.slow
def test_a_fork_with_another_result_goes_on_where_it_is_run(here: Path) -> None:
    """The script that made the run resumes its fork; what came before the step is not made again."""
    made = cli("fork", "mail", "--at", "search", "--set", 'result=["B"]')
    assert made.exit_code == 0, made.output
    assert (
        "mail forked at step 1.0 search with another result: 1 step replayed; 2 whose effects" in made.stdout
    )
    assert as_json("ls")[0]["status"] == "interrupted"
    assert script() == "sent B 1"
    assert calls()[3:] == ["read B", "send B 1"]
    assert [run["status"] for run in as_json("ls")] == ["completed", "completed"]


@pytest.mark.slow
def test_a_fork_with_other_arguments(here: Path) -> None:
    """Those that are not named stay."""
    made = as_json("fork", "mail", "--at", "1.0", "--arguments", '{"limit": 7}')
    assert (made["how"], made["at"], made["repeats"]) == (
        "arguments",
        "1.0",
        {"search": 1, "read": 1, "send": 1},
    )
    assert script() == "sent A 7"
    assert calls()[3:] == ["search a 7", "read A", "send A 7"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["fork", "nope", "--at", "1.0"], 1, "there is no run"),
        (["fork", "mail", "--at", "1.9"], 1, "has no step '1.9'"),
        (["fork", "mail"], 2, "--at"),
        (["fork", "mail", "--at", "1.0", "--set", "7"], 2, "--set result=JSON"),
        (["fork", "mail", "--at", "1.0", "--arguments", "{"], 2, "needs JSON"),
        (["fork", "mail", "--at", "1.0", "--arguments", "[1]"], 2, "given by name"),
        (
            ["fork", "mail", "--at", "read", "--set", 'result={"title": "b"}'],
            1,
            "cannot be made of JSON here",
        ),
        (["diff", "mail", "nope"], 1, "there is no run"),
        (["delete", "nope"], 1, "there is no run"),
    ],
)
def test_what_is_wrong_is_said(here: Path, words: list[str], code: int, says: str) -> None:
    """With a hint, and without a fork."""
    found = cli(*words)
    assert found.exit_code == code
    assert says in found.stderr
    assert len(as_json("ls")) == 1


@pytest.mark.slow
def test_diff_and_delete(here: Path) -> None:
    """Where two runs part; the first one goes, and its fork is whole."""
    first = as_json("ls")[0]["id"]
    assert cli("diff", first, "mail").exit_code == 0
    cli("fork", "mail", "--at", "send", "--set", "result=nothing")
    assert script() == "nothing"

    found = cli("diff", first, "mail")
    assert found.exit_code == 1
    assert "2 steps equal, 2 of them from one journal; first differs at step 1.2 send" in found.stdout
    assert "    -sent A 3\n    +nothing\n" in found.stdout
    told = as_json("diff", first, "mail")
    assert (told["same"], told["equal"], told["steps"][0]["result"]) == (False, 2, ["-sent A 3", "+nothing"])

    gone = cli("delete", first)
    assert "what its forks need stays" in gone.stdout
    assert [run["id"] for run in as_json("ls")] != [first]
    assert "1.0" in cli("show", "mail").stdout
    assert cli("verify").exit_code == 0
    assert as_json("delete", "mail") == [{"run": told["b"], "name": "mail", "kept_for_forks": False}]
    assert as_json("ls") == []
    with open_store("journal.db") as store:
        assert store.verify() == []
