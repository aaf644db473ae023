"""Which run a cell belongs to: each row of the design's table, in real kernels, by what was really called."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_agents import LOAD, TOOLS, MakeKernel, calls, counts, lines, ready, said, session, until
from kernels import Kernel, KernelDied

CELL = """%%durable research
found = [ask(question) for question in questions]
found += [crunch(n) for n in range(2)]
found
"""
QUESTIONS = "questions = ['a', 'b']"
FOUND = "['answer to a', 'answer to b', 0, 1]"


def killed(kernel: Kernel, cell: str) -> None:
    """Run a cell that must not survive."""
    with pytest.raises(KernelDied):
        kernel.run(cell)


@pytest.mark.slow
@pytest.mark.parametrize("interactive", [True, False], ids=["interactive", "headless"])
def test_unfinished_owner_gone_is_resumed(make_kernel: MakeKernel, tmp_path: Path, interactive: bool) -> None:
    """Killed in its third step, the run goes on in a fresh kernel that ran nothing but the cell."""
    env = (
        {}
        if interactive
        else {"JPY_SESSION_NAME": None, "JUPYTER_DURABLE_NOTEBOOK": str(tmp_path / "nb.ipynb")}
    )
    first = ready(make_kernel, tmp_path, TOOLS, QUESTIONS, **env, JUPYTER_DURABLE_CRASH_AT="after-start:3")
    killed(first, CELL)
    assert calls(tmp_path) == ["ask a", "ask b"]

    second = ready(make_kernel, tmp_path, **env)
    reply = second.check(CELL)

    assert reply.result == FOUND
    assert counts(tmp_path) == {"ask a": 1, "ask b": 1, "crunch 0": 1, "crunch 1": 1}
    assert lines(reply) == [
        "↻ resuming research: 2 of 3 steps replayed, 1 in doubt, continues at crunch(0)",
        "✓ research completed: 2 replayed, 2 executed",
    ]


@pytest.mark.slow
def test_unfinished_with_other_inputs(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """Other inputs: an edit where somebody watches, and a new run, naming the old one, where nobody does."""
    first = ready(make_kernel, tmp_path, TOOLS, QUESTIONS, JUPYTER_DURABLE_CRASH_AT="after-start:3")
    killed(first, CELL)
    other = "questions = ['a', 'c']"

    headless = ready(
        make_kernel,
        tmp_path,
        TOOLS,
        other,
        JPY_SESSION_NAME=None,
        JUPYTER_DURABLE_NOTEBOOK=str(tmp_path / "nb.ipynb"),
    )
    reply = headless.check(CELL)
    assert "new run: questions differs from unfinished" in said(reply)
    assert "--resume" in said(reply)
    assert counts(tmp_path) == {"ask a": 2, "ask b": 1, "ask c": 1, "crunch 0": 1, "crunch 1": 1}

    old = next(word for word in said(reply).replace(";", " ").split() if "-" in word and word[0].isdigit())
    headless.close()
    watched = ready(make_kernel, tmp_path, TOOLS, other)
    reply = watched.check(CELL.replace("research", f"research --resume {old}"))
    assert "resuming research as an edit: questions changed" in said(reply)
    assert "has already happened" in said(reply) or "have already happened" in said(reply)
    assert counts(tmp_path) == {"ask a": 2, "ask b": 1, "ask c": 2, "crunch 0": 2, "crunch 1": 2}


@pytest.mark.slow
def test_owner_alive_elsewhere_is_refused_and_taken_over_once_it_is_gone(
    make_kernel: MakeKernel, tmp_path: Path
) -> None:
    """The second kernel is told who holds the run; when that one is killed it goes on at once."""
    cell = "%%durable research\npages = [await fetch('x'), await fetch('y', wait)]\npages"
    first = ready(make_kernel, tmp_path, TOOLS, "wait = 60")
    running = first.submit(cell)
    until(first, running, lambda: "fetch y" in calls(tmp_path))
    second = ready(make_kernel, tmp_path, TOOLS, "wait = 60")

    refused = second.run(cell)

    assert (refused.status, refused.ename) == ("error", "LeaseHeldError")
    assert f"pid {first.pid} on" in " ".join(refused.traceback.split())
    assert "Jupyter kernel for nb.ipynb" in " ".join(refused.traceback.split())
    assert "hint:" in refused.traceback
    assert "jupyter_durable/" not in refused.traceback, "no frames of ours"
    assert calls(tmp_path) == ["fetch x", "fetch y"]

    first.kill()
    second.check("wait = 60")
    taken = second.submit(cell)
    until(second, taken, lambda: calls(tmp_path).count("fetch y") == 2)
    second.interrupt()
    second.wait(taken)
    assert counts(tmp_path) == {"fetch x": 1, "fetch y": 2}
    assert "resuming research: 1 of 2 steps replayed, 1 in doubt, continues at fetch('y', 60)" in said(taken)


@pytest.mark.slow
def test_completed_in_a_fresh_kernel(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """Same code and inputs: restored without one call where somebody watches, a new run where nobody does."""
    ready(make_kernel, tmp_path, TOOLS, QUESTIONS).check(CELL)
    made = calls(tmp_path)

    second = ready(make_kernel, tmp_path)
    reply = second.check(CELL)
    assert reply.result == FOUND
    assert calls(tmp_path) == made
    assert "research: restored from" in lines(reply)[0]
    assert "--new runs it again" in lines(reply)[0]
    assert lines(reply)[1] == "✓ research restored: 4 replayed"
    again = second.check(CELL)
    assert "restored from" in said(again), "what was only restored here is restored again"
    assert second.check("found").result == FOUND

    headless = ready(
        make_kernel,
        tmp_path,
        TOOLS,
        QUESTIONS,
        JPY_SESSION_NAME=None,
        JUPYTER_DURABLE_NOTEBOOK=str(tmp_path / "nb.ipynb"),
    )
    reply = headless.check(CELL)
    assert "new run" in said(reply)
    assert calls(tmp_path) == made * 2


@pytest.mark.slow
def test_in_one_kernel(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """Executed again: a new run. Edited: a fork that keeps what still matches; a comment is no edit. `--new`: new."""
    kernel = ready(make_kernel, tmp_path, TOOLS, QUESTIONS)
    kernel.check(CELL)
    first = calls(tmp_path)

    assert "new run" in said(kernel.check(CELL))
    assert calls(tmp_path) == first * 2

    assert "new run" in said(kernel.check(CELL.replace("\nfound\n", "  # all\n\n\nfound\n")))
    assert calls(tmp_path) == first * 3

    edited = CELL.replace("range(2)", "range(3)")
    reply = kernel.check(edited)
    assert "forking research: the cell changed" in said(reply)
    assert "4 replayed, 1 executed" in said(reply)
    assert calls(tmp_path) == [*first * 3, "crunch 2"]

    kernel.check("questions = ['a', 'd']")
    reply = kernel.check(edited)
    assert "new run (questions changed); the last one completed" in said(reply), (
        "executed again in this kernel, whatever it reads"
    )
    # What it names works when it is typed: that run, with what it was given.
    made = calls(tmp_path)
    command = re.search(r"%%durable research --replay \S+", said(reply))
    assert command is not None
    replayed = kernel.check(edited.replace("%%durable research", command[0]))
    assert replayed.result == "['answer to a', 'answer to b', 0, 1, 4]"
    assert "as they were when the run began: questions" in said(replayed)
    assert kernel.check("questions").result == "['a', 'b']"
    assert calls(tmp_path) == made

    reply = kernel.check(edited.replace("research", "research --new"))
    assert "new run" in said(reply)


@pytest.mark.slow
def test_an_edited_definition_forks_in_a_fresh_kernel(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """Completed elsewhere; here a tool is defined otherwise: forked, and what the change is is said."""
    ready(make_kernel, tmp_path, TOOLS, QUESTIONS).check(CELL)
    made = calls(tmp_path)

    second = ready(make_kernel, tmp_path, TOOLS.replace("n * n", "n * n * n"))
    reply = second.check(CELL)

    assert "forking research: crunch changed" in said(reply)
    assert calls(tmp_path) == made, "the calls are the same, so all are answered from the journal"

    # And inputs: the first question that differs is where the fork goes live.
    second.check("questions = ['a', 'z']")
    third = ready(make_kernel, tmp_path, TOOLS, "questions = ['a', 'z']")
    reply = third.check(CELL)
    assert "questions changed" in said(reply)
    assert calls(tmp_path)[len(made) :] == ["ask z", "crunch 0", "crunch 1"]
    assert "this fork leaves behind 3 steps whose effects have already happened" in said(reply)


@pytest.mark.slow
def test_flags(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """`--replay` calls nothing, `--rerun-from` calls from there, `--plan` does nothing; unknown runs are refused."""
    kernel = ready(make_kernel, tmp_path, TOOLS, QUESTIONS)
    plan = kernel.check(CELL.replace("research", "research --plan"))
    assert lines(plan) == ["▶ research: a new run; nothing to replay"]
    assert calls(tmp_path) == []
    assert plan.result is None
    assert kernel.check("%%durable research --plan\nawait fetch('x')").ok
    kernel.check(CELL)
    made = calls(tmp_path)

    replayed = kernel.check(CELL.replace("research", "research --replay research"))
    assert replayed.result == FOUND
    assert "nothing is executed" in said(replayed)
    assert calls(tmp_path) == made

    forked = kernel.check(CELL.replace("research", "research --rerun-from 1.2"))
    assert "at step 1.2" in lines(forked)[0]
    assert "2 replayed, 2 executed" in said(forked)
    assert calls(tmp_path) == [*made, "crunch 0", "crunch 1"]

    for flags, says in (
        ("--resume nope", "no run"),
        ("--replay nope", "no run"),
        ("--rerun-from 9.9", "no step '9.9'"),
    ):
        refused = kernel.run(CELL.replace("research", f"research {flags}"))
        assert refused.ename == "RunNotFoundError", refused
        assert says in refused.traceback
        assert "hint:" in refused.traceback
    refused = kernel.run(CELL.replace("research", "nothing --rerun-from 1.0"))
    assert refused.ename == "RunNotFoundError"
    assert calls(tmp_path) == [*made, "crunch 0", "crunch 1"]


@pytest.mark.slow
def test_names_cells_and_notebooks(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """Without a name the cell's id is one, else its code; another notebook's run of the same name is not touched."""
    kernel = ready(make_kernel, tmp_path, TOOLS)
    unnamed = "%%durable\nask('x')"
    kernel.check(unnamed, cell_id="abc")
    kernel.check(unnamed, cell_id="def")
    kernel.check(unnamed)
    store = "[run.name for run in durable.open_store().runs()][::-1]"
    names = json.loads(kernel.check(store).result.replace("'", '"'))  # type: ignore[union-attr]
    assert names[:2] == ["cell-abc", "cell-def"]
    assert names[2].startswith("cell-")
    assert calls(tmp_path) == ["ask x"] * 3

    kernel.check("%%durable shared\nask('one')", cell_id="one")
    refused = kernel.run("%%durable shared\nask('two')", cell_id="two")
    assert "the name 'shared' is used by another cell" in refused.traceback
    assert calls(tmp_path).count("ask two") == 0

    copied = make_kernel(env=session(tmp_path, "copy.ipynb"))
    copied.check(LOAD)
    copied.check(TOOLS)
    reply = copied.check("%%durable shared\nask('one')", cell_id="one")
    assert "new run" in said(reply)
    assert calls(tmp_path).count("ask one") == 2

    (tmp_path / "copy.ipynb").rename(tmp_path / "moved.ipynb")
    moved = make_kernel(env=session(tmp_path, "moved.ipynb"))
    moved.check(LOAD)
    reply = moved.check("%%durable shared\nask('one')", cell_id="one")
    assert "found as the run of" in said(reply)
    assert "restored from" in said(reply)
    assert calls(tmp_path).count("ask one") == 2
    again = make_kernel(env=session(tmp_path, "moved.ipynb"))
    again.check(LOAD)
    reply = again.check("%%durable shared\nask('one')", cell_id="one")
    assert "found as" not in said(reply), "it is remembered where it went"
    assert "restored from" in said(reply)


@pytest.mark.slow
def test_two_live_cells_of_one_name_are_refused_and_two_names_stay_apart(
    make_kernel: MakeKernel, tmp_path: Path
) -> None:
    """In a subshell a second cell may run: under another name beside the first, under its name not."""
    kernel = ready(make_kernel, tmp_path, TOOLS)
    first = kernel.submit("%%durable one\n[await fetch(f'one {n}', .1) for n in range(8)]")
    until(kernel, first, lambda: "fetch one 0" in calls(tmp_path))
    subshell = kernel.subshell()

    refused = kernel.run("%%durable one\nask('never')", subshell=subshell)
    beside = kernel.run("%%durable two\n[ask(f'two {n}') for n in range(3)]", subshell=subshell)
    kernel.wait(first)

    assert refused.ename == "LeaseHeldError"
    assert "another" in refused.traceback
    assert (first.check().result or "").count("page") == 8
    assert beside.check().result == str([f"answer to two {n}" for n in range(3)])
    assert lines(beside)[-1] == "✓ two completed: 3 executed"
    assert lines(first)[-1] == "✓ one completed: 8 executed"
    assert set(counts(tmp_path).values()) == {1}


JOB_CELLS = [
    LOAD + "\nimport time, random\nseed = random.random()",
    TOOLS,
    "questions = [f'{seed}', 'b']",
    "%%durable research\nfound = [ask(q) for q in questions]\nmark = crunch(1)\n(found[0] == f'answer to {seed}', mark)",
]


@pytest.mark.slow
def test_a_job_restarts_with_the_inputs_it_began_with(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """Within one job the run goes on by its id, whatever the set-up cells computed this time; another job is another run."""
    env: dict[str, str | None] = {
        "JUPYTER_DURABLE_JOB": "job1.x",
        "JUPYTER_DURABLE_NOTEBOOK": str(tmp_path / "nb.ipynb"),
    }

    def job(**more: str) -> Kernel:
        kernel = make_kernel(env={**env, **more})
        for number, cell in enumerate(JOB_CELLS[:3]):
            kernel.check(cell, cell_id=f"c{number}")
        return kernel

    killed(job(JUPYTER_DURABLE_CRASH_AT="after-call:3"), JOB_CELLS[3])
    assert len(calls(tmp_path)) == 3
    resumed = job()
    reply = resumed.check(JOB_CELLS[3], cell_id="c3")
    assert reply.result == "(True, 1)", "the seed of the first kernel"
    made = counts(tmp_path)
    assert made.pop("crunch 1") == 2, "cut off after the call, before its outcome"
    assert set(made.values()) == {1}
    assert [line for line in lines(reply) if line[0] in "▶↻✓"] == [], (
        "outputs do not tell that it was resumed"
    )
    resumed.close()

    again = job()
    again.check(JOB_CELLS[3], cell_id="c3")
    assert len(calls(tmp_path)) == 4, "completed in this job: restored"
    again.close()

    env["JUPYTER_DURABLE_JOB"] = "job2.x"
    job().check(JOB_CELLS[3], cell_id="c3")
    assert len(calls(tmp_path)) == 7, "another job is another execution"


@pytest.mark.slow
def test_notebooks_that_nothing_tells_apart(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """Where the path is unknown (plain nbclient), an unfinished run is resumed by the same code, and never by other code."""
    nowhere = {"JPY_SESSION_NAME": None}
    dying = ready(
        make_kernel, tmp_path, TOOLS, QUESTIONS, **nowhere, JUPYTER_DURABLE_CRASH_AT="after-start:3"
    )
    killed(dying, CELL)

    other = ready(make_kernel, tmp_path, TOOLS, QUESTIONS, **nowhere)
    assert "new run" in said(other.check("%%durable research\nask('something else')"))
    same = ready(make_kernel, tmp_path, **nowhere)
    assert "resuming research: 2 of 3" in said(same.check(CELL))
    assert counts(tmp_path)["ask a"] == 1


@pytest.mark.slow
def test_a_run_of_a_script_is_not_resumed_by_a_cell(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """`--resume` of what no cell began says where it belongs."""
    kernel = ready(make_kernel, tmp_path, TOOLS)
    script = tmp_path / "agent.py"
    script.write_text(
        "import jupyter_durable as durable\n@durable.run('other')\ndef main():\n    1 / 0\ntry: main()\nexcept ZeroDivisionError: pass"
    )
    subprocess.run([sys.executable, str(script)], env=kernel.env, check=True)
    refused = kernel.run("%%durable other --resume other\nask('x')")
    assert "was not begun by a cell" in refused.traceback
    assert calls(tmp_path) == []
