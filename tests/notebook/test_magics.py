"""`%durable` in a real kernel: what it shows, what it does, and what it says when it is used wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_agents import LOAD, TOOLS, MakeKernel, calls, counts, lines, moved_to, ready, said, session, until
from kernels import Kernel, KernelDied

CELL = """%%durable research
log = []
first = ask(topic)
log.append(first)
page = await fetch(topic)
log.append(page)
number = crunch(2)
log.append(number)
log
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel with the tools for all tests that need no death: starting one costs a second."""
    folder = tmp_path_factory.mktemp("shared")
    with Kernel(folder, env=session(folder)) as kernel:
        kernel.check(LOAD)
        kernel.check(TOOLS)
        yield kernel


@pytest.fixture
def kernel(shared: Kernel, tmp_path: Path) -> Kernel:
    """The shared kernel, in the test's own folder and store, where one run has completed."""
    moved_to(shared, tmp_path).check("topic = 'with'")
    shared.check(CELL)
    return shared


def payload(kernel: Kernel, code: str) -> tuple[Any, list[dict[str, Any]]]:
    """A cell's reply, and the cells it asks the front end to insert."""
    found: list[dict[str, Any]] = []
    take = kernel._take

    def keep(message: dict[str, Any]) -> None:
        found.extend(message["content"].get("payload", []) if message["msg_type"] == "execute_reply" else [])
        take(message)

    kernel._take = keep  # type: ignore[method-assign]
    try:
        return kernel.run(code), found
    finally:
        kernel._take = take  # type: ignore[method-assign]


@pytest.mark.slow
def test_looking(kernel: Kernel, tmp_path: Path) -> None:
    """`list`, `show`, `plan`, `store` and the bare magic show runs and steps, as tables with a plain fallback."""
    assert "no runs" not in said(kernel.check("%durable"))
    assert "verbs: list" in said(kernel.check("%durable"))
    listed = kernel.check("%durable list")
    assert "research  completed  3/3" in said(listed)
    assert "<table" in listed.displays[0]["data"]["text/html"]
    shown = said(kernel.check("%durable show research"))
    for text in ("1.0", "ask('with')", "fetch('with')", "'page with'", "crunch(2)", "completed"):
        assert text in shown
    one = said(kernel.check("%durable show research 1.1"))
    assert "attempts" in one
    assert "'page with'" in one
    assert "nothing is left to do" in said(kernel.check("%durable plan"))
    assert "nothing is left to do" in said(kernel.check("which = 'research'\n%durable plan $which"))
    assert str(tmp_path / "journal.db") in said(kernel.check("%durable store"))
    explained = kernel.check("print(get_ipython().find_line_magic('durable').__doc__)").stdout
    assert all(f"%durable {verb}" in explained for verb in ("list", "goto", "fork", "supply", "store"))


def test_everything_shown_is_text(kernel: Kernel) -> None:
    """What comes from tools is escaped."""
    kernel.check("%%durable '<b>bold</b>'\nask('<script>alert(1)</script>')")
    for code in ("%durable list", "%durable show '<b>bold</b>'"):
        html = kernel.check(code).displays[0]["data"]["text/html"]
        assert "<script>" not in html
        assert "<b>" not in html
        assert "&lt;" in html


@pytest.mark.parametrize(
    ("code", "ename", "says"),
    [
        ("%durable nonsense", "UsageError", "no such verb: nonsense"),
        ("%durable show", "UsageError", "%durable show RUN [STEP]"),
        ("%durable show 'a", "UsageError", "No closing quotation"),
        ("%durable show nope", "RunNotFoundError", "hint"),
        ("%durable show research 9.9", "RunNotFoundError", "no step '9.9'"),
        ("%durable goto research", "UsageError", "goto RUN STEP"),
        ("%durable fork research 1.1", "UsageError", "fork RUN [--at STEP"),
        ("%durable resume nope", "RunNotFoundError", "hint"),
        ("x = 1\n%durable resume research", "UsageError", "alone into a cell"),
        ("%durable retry research 1.1", "DurableError", "not in doubt"),
        ("%durable supply research 1.1", "UsageError", "supply RUN STEP EXPR"),
        ("%durable cancel research", "DurableError", "already completed"),
        ("%durable store http://example.org/x", "StoreError", "hint"),
    ],
)
def test_wrong_lines(kernel: Kernel, code: str, ename: str, says: str) -> None:
    """Each mistake is one clear error with a hint, and no traceback."""
    reply = kernel.run(code)
    shown = reply.traceback + reply.stderr
    assert reply.ename == ename, reply
    assert says in shown
    assert "hint" in shown
    assert "Traceback" not in shown
    assert "jupyter_durable/" not in shown


@pytest.mark.slow
def test_goto(kernel: Kernel, tmp_path: Path) -> None:
    """The namespace as it was when the run came to a step, nothing called; forwards and backwards."""
    made = calls(tmp_path)
    kernel.check("topic = 'changed'; first = number = None; helper = 1")

    reply = kernel.check("%durable goto research 1.1")

    assert reply.tracebacks == []
    assert "research at step 1.1: 1 replayed; the namespace is as it was then" in said(reply)
    state = "topic, log, first, 'page' in globals(), 'number' in globals(), helper"
    assert kernel.check(state).result == "('with', ['answer to with'], 'answer to with', False, False, 1)"
    kernel.check("%durable goto research crunch")
    assert kernel.check("log, page").result == "(['answer to with', 'page with'], 'page with')"
    kernel.check("# a comment above\n%durable goto research 1.0")
    assert kernel.check("log, 'first' in globals()").result == "([], False)"
    assert calls(tmp_path) == made
    listed = kernel.check("[(r.name, r.status) for r in durable.open_store().runs()]").result
    assert listed == "[('research', 'completed')]", "looking back changes nothing"


def test_fork(kernel: Kernel, tmp_path: Path) -> None:
    """The namespace of that moment, and a cell below; edited and run, it is a run of its own from there on."""
    made = calls(tmp_path)

    reply, inserted = payload(kernel, "%durable fork research --at 1.1")

    assert reply.ok
    assert kernel.check("log").result == "['answer to with']"
    assert [p["source"] for p in inserted] == ["set_next_input"]
    below = inserted[0]["text"]
    assert below.startswith("%%durable research --resume ")
    assert "--rerun-from 1.1\n" in below.splitlines(keepends=True)[0]
    assert below.partition("\n")[2] == CELL.partition("\n")[2]
    assert calls(tmp_path) == made

    forked = kernel.check(below.replace("crunch(2)", "crunch(5)"))
    assert forked.result == "['answer to with', 'page with', 25]"
    assert "1 replayed, 2 executed" in said(forked)
    assert "2 steps whose effects have already happened" in said(forked)
    assert calls(tmp_path) == [*made, "fetch with", "crunch 5"]

    reply, inserted = payload(kernel, "%durable fork research")
    assert "--rerun-from end" in inserted[0]["text"]
    kernel.check(inserted[0]["text"].replace("\nlog\n", "\nlog.append(ask('more'))\nlog\n"))
    assert calls(tmp_path)[-1] == "ask more"
    assert len(calls(tmp_path)) == len(made) + 3


@pytest.mark.slow
def test_resume_in_a_fresh_kernel_without_the_cell(make_kernel: MakeKernel, tmp_path: Path) -> None:
    """`%durable resume RUN` alone brings names and code from the journal, and runs as a cell: await, result, interrupt."""
    dying = ready(make_kernel, tmp_path, TOOLS, "topic = 'with'", JUPYTER_DURABLE_CRASH_AT="after-start:2")
    with pytest.raises(KernelDied):
        dying.run(CELL)
    fresh = ready(make_kernel, tmp_path)
    assert "resuming it: 1 of 2 steps replayed, 1 in doubt" in said(fresh.check("%durable plan research"))

    reply = fresh.check("%durable resume research")

    assert reply.result == "['answer to with', 'page with', 4]"
    assert "resuming research: 1 of 2 steps replayed" in said(reply)
    assert counts(tmp_path) == {"ask with": 1, "fetch with": 1, "crunch 2": 1}
    assert fresh.check("topic, Out[max(Out)] == log").result == "('with', True)"

    fresh.check("wait = 60")
    cell = "%%durable slow\nawait fetch('x', wait)"
    for number, code in enumerate((cell, "%durable resume slow"), 1):
        running = fresh.submit(code)
        until(fresh, running, lambda n=number: calls(tmp_path).count("fetch x") == n)  # type: ignore[misc]
        fresh.interrupt()
        stopped = fresh.wait(running, 20)
        assert "slow interrupted" in said(stopped)
    assert "resuming slow" in lines(stopped)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "sent", "result"),
    [
        ("retry mail 1.0", 2, "'sent to you'"),
        ("supply {'ma'+'il'} send {'id':5}", 1, "{'id': 5}"),
        ("fail mail 1.0 'nobody is there'", 1, None),
        ("cancel mail", 2, "'sent to you'"),
    ],
    ids=lambda value: str(value).split()[0],
)
def test_deciding_before_running_the_cell_again(
    make_kernel: MakeKernel, tmp_path: Path, verb: str, sent: int, result: str | None
) -> None:
    """The decision is written first, also from this kernel; the cell then goes on without asking."""
    cell = "%%durable mail\nsend('you')"
    dying = ready(make_kernel, tmp_path, TOOLS, JUPYTER_DURABLE_CRASH_AT="after-call:1")
    with pytest.raises(KernelDied):
        dying.run(cell)
    kernel = ready(make_kernel, tmp_path, TOOLS)
    assert "did step 1.0 send happen?" in said(kernel.check("%durable show mail"))
    kernel.check(f"%durable {verb}")

    reply = kernel.run(cell)

    assert counts(tmp_path) == {"send you": sent}
    if result is None:
        assert "nobody is there" in reply.traceback
    else:
        assert reply.check().result == result
    again = kernel.run(f"%durable {verb}")
    assert not again.ok, "decided is decided"


def test_another_store(kernel: Kernel, tmp_path: Path) -> None:
    """`%durable store` changes it for cells, `open_store` and child processes; `--store` for one cell."""
    kernel.check(f"%durable store {tmp_path / 'other.db'}")
    assert "new run" in said(kernel.check(CELL))
    names = "[r.name for r in durable.open_store().runs()]"
    assert kernel.check(names).result == "['research']"
    assert "other.db" in kernel.check("!echo $JUPYTER_DURABLE_STORE").stdout
    kernel.check(f"%%durable elsewhere --store {tmp_path / 'third.db'}\nask('x')")
    assert kernel.check(names).result == "['research']"
    assert (tmp_path / "third.db").exists()


@pytest.mark.slow
def test_completion(kernel: Kernel) -> None:
    """Tab offers verbs, runs, steps and options, as the front end asks for them: and nothing else, not even keywords."""

    def offered(line: str, below: str = "") -> list[str]:
        request = kernel.client.complete(line + below, len(line))
        while True:
            reply = kernel.client.get_shell_msg(timeout=10)
            if reply["parent_header"].get("msg_id") == request:
                content = reply["content"]
                start = line[: content["cursor_start"]]
                return [start + match for match in content["matches"]]

    assert offered("%durable ")[:2] == ["%durable list", "%durable show"]
    verbs = {"list", "show", "plan", "resume", "goto", "fork", "cancel", "retry", "supply", "fail", "store"}
    assert {word.removeprefix("%durable ") for word in offered("%durable ")} >= verbs
    assert not {"%durable import", "%durable print"} & set(offered("%durable "))
    assert offered("%durable re") == ["%durable resume", "%durable reject", "%durable retry"]
    assert offered("%%durable x --app") == ["%%durable x --approve"]
    assert offered("%durable show res") == ["%durable show research"]
    run = kernel.check("durable.open_store().runs(name='research')[0].id[:13]").result
    assert run is not None
    whole = f"%durable show {run.strip(chr(39))}"
    assert offered(whole[:-2]) == [whole], "ids have a dash in them"
    assert "%durable show research 1.1" in offered("%durable show research 1")
    assert offered("%durable fork research --") == ["%durable fork research --at"]
    assert offered("%%durable ", "\nx = 1")[0] == "%%durable research"
    assert "%%durable --new" in offered("%%durable ")
    assert offered("%%durable research --rerun") == ["%%durable research --rerun-from"]
    assert "%%durable research --rerun-from 1.1" in offered("%%durable research --rerun-from ")
    assert whole.replace("%durable show", "%%durable research --resume") in offered(
        "%%durable research --resume "
    )
    assert "%%durable research --replay" not in offered("%%durable research --park-after ")
    kernel.check("def plain(x): ...")
    assert offered("%%durable research --tool pl") == ["%%durable research --tool plain"]
    assert offered("%durable supply research 1.1 pla") == ["%durable supply research 1.1 plain"]
    assert "%%durable research" not in offered("x = 1\n%%durable ")
    kernel.check(
        "%config Completer.use_jedi = False"
    )  # with some releases of jedi IPython offers nothing at all
    assert "plain" in offered("pla"), "elsewhere everything is as it was"
