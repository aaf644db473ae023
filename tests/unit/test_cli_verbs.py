"""Every verb through the installed command: its help, its JSON, a wrong argument, an unknown run, and no traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from jupyter_durable.cli import main

pytestmark = pytest.mark.slow

SCRIPT = """
import os, sys
import jupyter_durable as durable
from jupyter_durable.journal.budget import Budget

@durable.tool
def search(q):
    return [q.upper()]

@durable.tool(approval=True)
def send(to):
    return f"sent to {to}"

@durable.tool(effect="unsafe")
def pay(amount):
    os._exit(9)

def agent(name, body):
    with durable.run(name, store="journal.db", park_after=0.2):
        body()

{"mail": lambda: agent("mail", lambda: (search("a"), send("ann"))),
 "ask": lambda: agent("ask", lambda: (search("b"), durable.ask("Which?", int))),
 "pay": lambda: agent("pay", lambda: (search("c"), pay(7))),
 "done": lambda: agent("done", lambda: search("d")),
 "done2": lambda: agent("done2", lambda: search("e")),
}[sys.argv[1]]()
"""

RUN = {
    "id",
    "name",
    "status",
    "notebook",
    "cell_id",
    "created_at",
    "updated_at",
    "steps",
    "parent_id",
    "cost",
    "usage",
}
REPORT = {
    "event",
    "job_id",
    "status",
    "exit_code",
    "notebook",
    "output",
    "resumed",
    "restarts",
    "cells_done",
    "cells",
}
JOB = {
    "job",
    "batch",
    "status",
    "notebook",
    "output",
    "parameters",
    "result",
    "error",
    "for",
    "until",
    "cost",
    "seconds",
}

# verb: arguments that work with --json, keys of the object (or of each in the list, or of the last line), exit code
WORKS: dict[str, tuple[list[str], set[str], int]] = {
    "run": (["nb.ipynb", "-q"], REPORT | {"seconds", "runs", "error", "cell", "where"}, 0),
    "resume": (["waits.ipynb", "--park-after", "0"], REPORT | {"run", "for", "until", "waits"}, 75),
    "submit": (["nb.ipynb", "-o", "queued.ipynb"], {"batch", "jobs"}, 0),
    "worker": (["--once"], {"event", "done"}, 0),
    "jobs": ([], JOB, 0),
    "wait": (["nb.out.ipynb"], {"ended", "completed", "jobs"}, 0),
    "ls": ([], RUN, 0),
    "show": (["mail"], RUN | {"waits"}, 0),
    "watch": (["mail", "--once"], {"v", "feed", "run", "rows", "waits", "lanes"}, 0),
    "cost": (["mail"], {"run", "steps", "cost", "saved"}, 0),
    "diff": (["done", "done2"], {"same"}, 1),
    "waits": (["ask"], {"run", "key", "kind", "step", "what", "actions", "until", "schema", "ready"}, 0),
    "approve": (["mail", "send"], {"run", "key", "action", "by"}, 0),
    "answer": (["ask", "1.1", "7"], {"run", "key", "action", "by"}, 0),
    "signal": (["ask", "go", "1"], {"run", "key", "action", "by"}, 0),
    "retry": (["--failed"], {"jobs"}, 0),
    "supply": (["pay", "1.1", "{}"], {"run", "step", "status"}, 0),
    "fork": (["done", "--at", "1.0"], {"id", "at", "how"}, 0),
    "store": ([], {"store", "exists", "key", "bytes", "runs", "jobs"}, 0),
    "verify": ([], set(), 0),
    "doctor": ([], {"topic", "level", "says", "do"}, 0),
    "gc": (
        ["--older-than", "30d", "--dry-run"],
        {"runs", "jobs", "kept", "bytes_before", "bytes_after", "dry_run"},
        0,
    ),
    "backup": (["saved.db"], {"file", "key", "runs", "bytes", "verified", "problems"}, 0),
    "copy": (["done", "one.db"], {"runs", "store"}, 0),
    "import": (["saved.db", "done"], {"runs", "store"}, 0),
    "cancel": (["ask"], {"run", "step", "status"}, 0),
    "delete": (["done2"], {"run", "name"}, 0),
    "export": (["done", "--format", "json", "-o", "done.json"], set(), 0),
    "completion": (["bash"], {"shell", "place", "source"}, 0),
}
SAID = {"reject", "fail", "budget"}
"""Verbs whose JSON has a test of its own below: they take another state of the store."""

UNKNOWN: dict[str, tuple[list[str], int]] = {
    "run": (["nobody.ipynb"], 2),
    "resume": (["nobody"], 2),
    "submit": (["nobody.ipynb"], 2),
    "jobs": (["nobody"], 1),
    "wait": (["nobody"], 1),
    "show": (["nobody"], 1),
    "watch": (["nobody"], 1),
    "cost": (["nobody"], 1),
    "diff": (["nobody", "done"], 1),
    "export": (["nobody"], 1),
    "waits": (["nobody"], 1),
    "approve": (["nobody", "send"], 1),
    "reject": (["nobody", "send"], 1),
    "answer": (["nobody", "1.1", "x"], 1),
    "signal": (["nobody", "go"], 1),
    "cancel": (["nobody"], 1),
    "retry": (["nobody", "1.1"], 1),
    "supply": (["nobody", "1.1", "x"], 1),
    "fail": (["nobody", "1.1", "x"], 1),
    "budget": (["nobody", "5"], 1),
    "fork": (["nobody", "--at", "1.1"], 1),
    "verify": (["nobody"], 1),
    "delete": (["nobody"], 1),
    "copy": (["nobody", "one.db"], 1),
    "import": (["nobody.db"], 1),
}
WRONG: dict[str, list[str]] = {
    "run": ["nb.ipynb", "--timeout", "soon"],
    "resume": [],
    "submit": ["nb.ipynb", "--max-concurrency", "openai"],
    "worker": ["--concurrency", "0"],
    "wait": ["--timeout", "when it is done"],
    "ls": ["--status", "sleepy"],
    "watch": ["mail", "extra"],
    "gc": ["--max-size", "big"],
    "backup": [],
    "retry": ["mail"],
    "approve": ["mail", "send", "--arguments", "{"],
    "completion": ["dos"],
    "budget": ["mail"],
}


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed console script, in a folder, with the store there."""
    script = shutil.which("jupyter-durable", path=str(Path(sys.executable).parent))
    assert script is not None
    env = {**os.environ, "JUPYTER_DURABLE_STORE": str(folder / "journal.db"), "COLUMNS": "100"}
    return subprocess.run([script, *words], capture_output=True, text=True, cwd=folder, env=env, timeout=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with runs in every state, notebooks, and a job that waits."""
    made = tmp_path_factory.mktemp("verbs")
    (made / "agents.py").write_text(SCRIPT)
    for name in ("mail", "ask", "pay", "done", "done2"):
        subprocess.run([sys.executable, "agents.py", name], cwd=made, capture_output=True, check=False)
    cell = nbformat.v4.new_code_cell
    nbformat.write(nbformat.v4.new_notebook(cells=[cell("6 * 7", id="a")]), made / "nb.ipynb")
    waits = [
        "%load_ext jupyter_durable\nimport jupyter_durable as durable",
        "%%durable w\ndurable.wait_for('go')",
    ]
    nb = nbformat.v4.new_notebook(cells=[cell(text, id=f"c{n}") for n, text in enumerate(waits)])
    nbformat.write(nb, made / "waits.ipynb")
    assert command(made, "run", "waits.ipynb", "-q", "--park-after", "0").returncode == 75
    return made


def test_the_map_of_this_test_is_complete() -> None:
    """Whoever adds a verb says here what it prints."""
    assert set(WORKS) | SAID == set(main.modules)  # type: ignore[attr-defined]
    assert set(UNKNOWN) | {"worker", "ls", "doctor", "gc", "backup", "store", "completion"} == set(
        main.modules
    )  # type: ignore[attr-defined]


@pytest.mark.parametrize("verb", list(WORKS))
def test_json_has_the_shape_that_programs_rely_on(verb: str, folder: Path) -> None:
    """With --json stdout is JSON and nothing else, with the documented keys and exit code."""
    words, keys, code = WORKS[verb]

    done = command(folder, verb, *words, "--json")

    assert done.returncode == code, done.stdout + done.stderr
    try:
        said = json.loads(done.stdout)
    except ValueError:  # events, a line each
        said = json.loads(done.stdout.splitlines()[-1])
    if keys:
        for one in said if isinstance(said, list) else [said]:
            assert set(one) >= keys, set(keys) - set(one)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", list(main.modules))  # type: ignore[attr-defined]
def test_every_verb_has_help(verb: str, tmp_path: Path) -> None:
    """What it does, its options, --json; nothing is opened for it."""
    done = command(tmp_path, verb, "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: jupyter durable {verb} ")
    assert "--json" in done.stdout
    assert not (tmp_path / "journal.db").exists()


@pytest.mark.parametrize("verb", list(UNKNOWN))
def test_what_is_not_there_is_said_with_a_hint(verb: str, folder: Path) -> None:
    """On stderr, with its exit code, and nothing on stdout."""
    words, code = UNKNOWN[verb]

    done = command(folder, verb, *words)

    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "\n  hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not re.search("(?<!%)%durable", done.stderr), "that cannot be typed in a terminal"


@pytest.mark.parametrize("verb", list(WRONG))
def test_a_wrong_argument_is_a_usage_error(verb: str, folder: Path) -> None:
    """2, what is wrong, and how it is used."""
    done = command(folder, verb, *WRONG[verb])

    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith(f"Usage: jupyter durable {verb} ")
    assert "Error: " in done.stderr


def test_what_is_decided_otherwise_has_the_same_shape(tmp_path: Path) -> None:
    """`reject` and `fail`, on runs of their own; a second decision is refused and says who was first."""
    (tmp_path / "agents.py").write_text(SCRIPT)
    for name in ("mail", "pay"):
        subprocess.run([sys.executable, "agents.py", name], cwd=tmp_path, capture_output=True, check=False)

    def said(*words: str) -> Any:
        done = command(tmp_path, *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert said("reject", "mail", "send", "not today")["action"] == "reject"
    assert set(said("fail", "pay", "1.1", "broken")) == {"run", "step", "status"}
    again = command(tmp_path, "approve", "mail", "send")
    assert again.returncode == 1
    assert "was decided already, by" in again.stderr
    budget = command(tmp_path, "budget", "mail", "5", "--json")
    assert (budget.returncode, "has no budget" in budget.stderr) == (1, True)


@pytest.mark.parametrize(
    "verb", sorted(set(main.modules) - {"run", "submit", "worker", "import", "store", "doctor", "completion"})
)  # type: ignore[attr-defined]
def test_a_store_whose_name_was_mistyped_is_no_empty_one(verb: str, tmp_path: Path) -> None:
    """It is said, and none is made; a copy of nothing is no backup, and nothing is not verified, wherever the name came from."""
    words = WORKS[verb][0] if verb in WORKS else ["mail", "send", "why"][: 2 + (verb == "fail")]

    done = command(tmp_path, verb, *words, "--store", str(tmp_path / "jurnal.db"))

    assert done.returncode in (1, 2), done.stdout
    assert f"there is no store {tmp_path / 'jurnal.db'}" in done.stderr
    assert "\n  hint: " in done.stderr
    assert not list(tmp_path.iterdir())
    if verb in ("verify", "backup"):
        assert "there is no store" in command(tmp_path, verb, *words).stderr


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_a_job_needs_a_store_that_outlives_it(verb: str, folder: Path) -> None:
    """In memory there is none for its kernels; nothing is written."""
    before = sorted(path.name for path in folder.iterdir())

    done = command(folder, verb, "nb.ipynb", "-o", "nowhere.ipynb", "--store", "memory:")

    assert done.returncode == 2
    assert "outlives its kernels\n  hint: name a file" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == before


def test_tab_offers_verbs_runs_and_steps(folder: Path, tmp_path: Path) -> None:
    """As a shell asks; where there is no store, none is made."""

    def offered(where: Path, words: str) -> list[str]:
        env = {
            **os.environ,
            "JUPYTER_DURABLE_STORE": str(where / "journal.db"),
            "_JUPYTER_DURABLE_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        script = str(Path(sys.executable).parent / "jupyter-durable")
        done = subprocess.run([script], capture_output=True, text=True, env=env, timeout=60, check=True)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert offered(folder, "jupyter-durable wo") == ["worker"]
    assert "mail" in offered(folder, "jupyter-durable show ma")
    assert "1.1" in offered(folder, "jupyter-durable show mail 1")
    assert not any(offered(tmp_path, "jupyter-durable show "))
    assert not (tmp_path / "journal.db").exists()


def test_gc_makes_the_file_smaller_if_it_is_told_to(folder: Path, tmp_path: Path) -> None:
    """It says what became of it, to programs, too; not while it only says what it would do."""
    for name in ("journal.db", "journal.key"):
        shutil.copy(folder / name, tmp_path / name)

    done = command(tmp_path, "gc", "--vacuum")

    assert done.returncode == 0, done.stderr
    assert re.search(r"^the file: .*B, now .*B$", done.stdout, re.MULTILINE)
    said = json.loads(command(tmp_path, "gc", "--vacuum", "--json").stdout)
    assert said["file_bytes"] == (tmp_path / "journal.db").stat().st_size
    assert json.loads(command(tmp_path, "verify", "--json").stdout) == []
    assert command(tmp_path, "gc", "--vacuum", "--dry-run").returncode == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_both_ways_to_call_it(folder: Path) -> None:
    """`jupyter durable`, too; what completed `jupyter` before goes on with its other words."""
    script = """
_theirs() { COMPREPLY=(lab); }
%s
eval "$(jupyter-durable completion bash)"; eval "$(jupyter-durable completion bash)"
offer() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    [[ $(complete -p "$1") =~ -F\\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" "$1" "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"
    echo "$*: ${COMPREPLY[*]}"
}
offer jupyter durable wo; offer jupyter durable show mai; offer jupyter-durable wo; offer jupyter la; offer jupyter du
"""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "JUPYTER_DURABLE_STORE": str(folder / "journal.db")}
    said = []
    for before in ("complete -F _theirs jupyter", ""):
        done = subprocess.run(
            ["bash", "--norc", "-c", script % before], capture_output=True, text=True, env=env, timeout=200
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.splitlines())

    ours = ["jupyter durable wo: worker", "jupyter durable show mai: mail", "jupyter-durable wo: worker"]
    assert said[0] == [*ours, "jupyter la: lab", "jupyter du: lab"]
    assert said[1] == [*ours, "jupyter la: ", "jupyter du: durable"]


def test_the_doctor_finds_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    """A store that others may read, a key that is gone, a run whose process is gone: each with what to do."""
    for name in ("journal.db", "journal.key"):
        shutil.copy(folder / name, tmp_path / name)
    (tmp_path / "journal.db").chmod(0o644)

    open_ = command(tmp_path, "doctor")
    assert open_.returncode == 1
    assert "PROBLEM  permissions:" in open_.stdout
    assert f"chmod 600 {tmp_path / 'journal.db'}" in open_.stdout
    (tmp_path / "journal.db").chmod(0o600)
    (tmp_path / "journal.key").unlink()
    keyless = command(tmp_path, "doctor", "--json")
    assert keyless.returncode == 1
    assert any("key" in f["says"] and f["level"] == "problem" and f["do"] for f in json.loads(keyless.stdout))
    well = command(folder, "doctor", "--deep")
    assert well.returncode == 0, well.stdout
    assert "all that is stored is as it was written" in well.stdout


def test_watch_follows_a_run_to_its_end(tmp_path: Path) -> None:
    """Lines for each step as they come, without a terminal; exit code 0 when it has completed."""
    (tmp_path / "slow.py").write_text(
        "import time, jupyter_durable as durable\n@durable.tool\ndef step(n):\n    time.sleep(.4)\n    return n * n\n"
        "with durable.run('slow', store='journal.db'):\n    print('begun', flush=True)\n    [step(n) for n in range(6)]\n"
    )
    agent = subprocess.Popen([sys.executable, "slow.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    assert agent.stdout.readline() == "begun\n"

    done = command(tmp_path, "watch")

    assert agent.wait(60) == 0
    assert done.returncode == 0, done.stderr
    assert "✓ 1.5 step(5) → 25" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("slow (")
    assert "completed; 6 completed" in done.stdout.splitlines()[-1]
