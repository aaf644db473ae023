"""Back in time in a real kernel: every verb, in the kernel that ran the cell and in a fresh one; effects counted outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel_agents import LOAD, TOOLS, calls, moved_to, said, session
from kernels import Kernel, KernelDied

MakeKernel = Callable[..., Kernel]

SETUP = f"""{TOOLS}
notes = []

@durable.tool
def pick(numbers: list[int], at: int = 0) -> int:
    trace(f"pick {{numbers}} {{at}}")
    return numbers[at]

@durable.tool
def research(topic: str) -> list[str]:
    return [ask(topic), ask(topic + "!")]
"""

SEQUENTIAL = """%%durable plain
notes.append(ask("one"))
picked = pick([1, 2, 3], 1)
notes.append(picked)
last = crunch(picked + 10)
"""

GATHERED = """%%durable gathered
seen = {}

async def work(name):
    seen[name] = await fetch(name)
    seen[name] += " " + await fetch(seen[name])

await asyncio.gather(*(work(name) for name in "abc"))
total = await fetch("+".join(sorted(seen.values())))
"""

NESTED = """%%durable nested
first = ask("before")
found = research("x")
after = ask(found[-1])
"""

THREADED = """%%durable threaded
from concurrent.futures import ThreadPoolExecutor

def work(n):
    return crunch(crunch(n) + 1)

with ThreadPoolExecutor(3) as pool:
    squares = list(pool.map(work, (2, 3, 4)))
top = crunch(max(squares))
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One kernel for all tests that need no death: starting one costs a second."""
    folder = tmp_path_factory.mktemp("shared")
    with Kernel(folder, env=session(folder)) as kernel:
        kernel.check(LOAD)
        yield kernel


@pytest.fixture
def kernel(shared: Kernel, tmp_path: Path) -> Kernel:
    """The shared kernel, in the test's own folder and store."""
    moved_to(shared, tmp_path).check("%reset -f")
    shared.check(LOAD)
    shared.check(SETUP)
    return shared


@pytest.fixture
def fresh(make_kernel: MakeKernel, tmp_path: Path) -> Callable[[], Kernel]:
    """Make a kernel in which only the extension is loaded, over the same store."""

    def make(**env: str | None) -> Kernel:
        kernel = make_kernel(env={**session(tmp_path), **env})
        kernel.check(LOAD)
        return kernel

    return make


def step(kernel: Kernel, run: str, result: str) -> str:
    """The id of the step that gave that."""
    code = f"next(s.id for s in durable.open_store().steps({run!r}) if s.result == {result!r})"
    found = kernel.check("import jupyter_durable as durable\n" + code).result
    assert found is not None
    return found.strip("'")


# -- goto ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_goto_in_every_kind_of_cell(kernel: Kernel, tmp_path: Path) -> None:
    """The names as they were when the run came to the step; nothing is called, and the run stays what it is."""
    for cell in (SEQUENTIAL, GATHERED, NESTED, THREADED):
        kernel.check(cell)
    made = calls(tmp_path)

    kernel.check("%durable goto plain pick")
    assert kernel.check("notes, 'picked' in globals()").result == "(['answer to one'], False)"
    kernel.check("%durable goto plain 1.2")
    assert kernel.check("notes, picked, 'last' in globals()").result == "(['answer to one', 2], 2, False)"

    b = step(kernel, "gathered", "'page page b'")
    kernel.check(f"%durable goto gathered {b}")
    assert kernel.check("seen['b'], 'total' in globals()").result == "('page b', False)"
    kernel.check("%durable goto gathered 1.0")
    assert (
        kernel.check("sorted(seen.values())[0], 'total' in globals()").result
        == "('page a page page a', False)"
    )

    inner = step(kernel, "nested", "'answer to x!'")
    reply = kernel.check(f"%durable goto nested {inner}")
    assert f"step {inner} was made inside step 1.1" in said(reply)
    assert kernel.check("first, 'found' in globals()").result == "('answer to before', False)"

    kernel.check("%durable goto threaded 1.0")
    assert kernel.check("squares, 'top' in globals()").result == "([25, 100, 289], False)"
    kernel.check(f"%durable goto threaded {step(kernel, 'threaded', '100')}")
    assert kernel.check("'squares' in globals()").result == "False"

    assert calls(tmp_path) == made
    assert kernel.check("{r.status for r in durable.open_store().runs()}").result == "{'completed'}"


@pytest.mark.slow
def test_goto_in_a_fresh_kernel(kernel: Kernel, fresh: Callable[[], Kernel], tmp_path: Path) -> None:
    """The names come from the journal, definitions and all."""
    kernel.check(GATHERED)
    kernel.check(NESTED)
    made = calls(tmp_path)
    other = fresh()
    other.check(f"%durable goto gathered {step(kernel, 'gathered', repr('page page c'))}")
    assert other.check("seen['c'], callable(work), 'total' in globals()").result == "('page c', True, False)"
    other.check("%durable goto nested 1.2")
    assert other.check("found, research.__name__").result == "(['answer to x', 'answer to x!'], 'research')"
    assert calls(tmp_path) == made


# -- fork ------------------------------------------------------------------------------------------


def test_fork_with_another_result(kernel: Kernel, tmp_path: Path) -> None:
    """Any expression of the notebook's; the cell goes on from there, live, in that very cell."""
    kernel.check(SEQUENTIAL)
    made = calls(tmp_path)
    kernel.check("wanted = {'number': 40}; notes = 'mine'")

    reply = kernel.check("%durable fork plain --at pick --set result=wanted['number'] + 2")

    assert "plain forked at step 1.1 pick with another result" in said(reply)
    assert "leaves behind 1 step whose effects have already happened (crunch)" in said(reply)
    assert calls(tmp_path) == [*made, "crunch 52"]
    assert kernel.check("notes, picked, last").result == "(['answer to one', 42], 42, 2704)"
    assert "2 replayed, 1 executed" in said(reply)
    assert (
        kernel.check("[r.status for r in durable.open_store().runs()]").result == "['completed', 'completed']"
    )

    kernel.check("%durable goto plain 1.2")
    assert kernel.check("notes").result == "['answer to one', 2]", (
        "the fork has left that step behind: its parent's"
    )


def test_a_fork_made_in_python_goes_on_in_the_cell(kernel: Kernel, tmp_path: Path) -> None:
    """Run as ever: its name finds the fork, and what the first run did to its inputs is no edit."""
    kernel.check(SEQUENTIAL)
    made = calls(tmp_path)
    told = kernel.check("str(durable.open_store().fork('plain', 'pick', result=30))").result or ""
    assert "with another result: 2 steps replayed" in told

    reply = kernel.check(SEQUENTIAL)

    assert "resuming plain: 2 of 2 steps replayed" in said(reply)
    assert "leaves behind 1 step whose effects" in said(reply)
    assert kernel.check("notes, picked, last").result == "(['answer to one', 30], 30, 1600)"
    assert calls(tmp_path) == [*made, "crunch 40"]

    kernel.check("durable.open_store().fork('plain', 'pick', result=40)")
    reply = kernel.check(SEQUENTIAL.replace("picked + 10", "picked + 20"))
    assert "leaves behind 1 step whose effects" in said(reply), "also where it is edited before it has begun"
    assert kernel.check("picked, last").result == "(40, 3600)"


@pytest.mark.slow
def test_fork_with_other_arguments(kernel: Kernel, tmp_path: Path) -> None:
    """As JSON or as Python writes them; what does not fit the signature is refused before anything happens."""
    kernel.check(SEQUENTIAL)
    made = calls(tmp_path)
    for wrong, says in (
        ("""--arguments '{"where": 2}'""", "'where' was unexpected"),
        ("""--arguments '{"at": "x"}'""", "at: 'x' is not of type 'integer'"),
        ("--arguments 7", "given by name"),
        ("--set 7", "what is 7"),
        ("--set result=", "what is result="),
    ):
        reply = kernel.run(f"%durable fork plain --at 1.1 {wrong}")
        assert not reply.ok
        assert says in " ".join((reply.traceback + reply.stderr).split())
        assert "hint" in reply.traceback + reply.stderr
    assert "what is --set without --at STEP" in kernel.run("%durable fork plain --set result=1").stderr
    assert kernel.check("notes").result == "['answer to one', 2]"

    reply = kernel.check("""%durable fork plain --at 1.1 --arguments '{"at": 2}'""")
    assert calls(tmp_path) == [*made, "pick [1, 2, 3] 2", "crunch 13"]
    kernel.check("%durable fork plain --at pick --arguments {'numbers': [n * 100 for n in (1, 2, 3)]}")
    again = calls(tmp_path)[len(made) + 2 :]
    assert again == ["pick [100, 200, 300] 2", "crunch 310"], (
        "the newest run of that name is meant, whose `at` is 2"
    )


@pytest.mark.slow
def test_fork_among_tasks_and_threads_and_inside_steps(kernel: Kernel, tmp_path: Path) -> None:
    """Only what may depend on the step is made anew."""
    for cell in (GATHERED, THREADED, NESTED):
        kernel.check(cell)
    made = len(calls(tmp_path))

    kernel.check(f"%durable fork gathered --at {step(kernel, 'gathered', repr('page b'))} --set result='B'")
    assert (
        kernel.check("dict(sorted(seen.items()))").result
        == "{'a': 'page a page page a', 'b': 'B page B', 'c': 'page c page page c'}"
    )
    assert [line.split()[1][0] for line in calls(tmp_path)[made:]] == ["B", "B"]
    made = len(calls(tmp_path))

    kernel.check(f"%durable fork threaded --at {step(kernel, 'threaded', '9')} --set result=0")
    assert kernel.check("squares").result == "[25, 1, 289]"
    assert calls(tmp_path)[made:] == ["crunch 1", "crunch 289"]
    made = len(calls(tmp_path))

    inner = step(kernel, "nested", "'answer to x'")
    kernel.check(f"%durable fork nested --at {inner} --set result='other'")
    assert kernel.check("first, found").result == "('answer to before', ['other', 'answer to x!'])"
    assert calls(tmp_path)[made:] == ["ask x!", "ask answer to x!"]


@pytest.mark.slow
@pytest.mark.parametrize("line", ["%durable fork plain --at pick --set result=30", "plain --rerun-from pick"])
def test_a_fork_that_is_killed_goes_on_when_its_cell_runs_again(
    fresh: Callable[..., Kernel], tmp_path: Path, line: str
) -> None:
    """In a fresh kernel, by the same line: no second fork, and nothing is made twice that was done."""
    first = fresh()
    first.check(SETUP)
    first.check(SEQUENTIAL)
    made = calls(tmp_path)
    cell = line if line.startswith("%") else f"%%durable {line}\n{SEQUENTIAL.partition(chr(10))[2]}"
    dying = fresh(JUPYTER_DURABLE_CRASH_AT="after-start:2" if "rerun" in line else "after-start:1")
    with pytest.raises(KernelDied):
        dying.run(cell)
    assert [c.split()[0] for c in calls(tmp_path)[len(made) :]] == (["pick"] if "rerun" in line else [])

    again = fresh()
    reply = again.check(cell)

    assert "goes on" in said(reply)
    number = 12 if "rerun" in line else 40
    assert again.check("last").result == str(number**2)
    assert calls(tmp_path)[len(made) :][-1] == f"crunch {number}"
    assert len(calls(tmp_path)) == len(made) + (2 if "rerun" in line else 1)
    runs = again.check("import jupyter_durable as durable; [r.status for r in durable.open_store().runs()]")
    assert runs.result == "['completed', 'completed']"


@pytest.mark.slow
def test_rerun_from_says_what_is_repeated_before_it_acts(kernel: Kernel, tmp_path: Path) -> None:
    """After 30 e-mails, say: how much is replayed, what is made once more; `--plan` says it and does nothing."""
    cell = "%%durable mail{}\nlist_ = ask('whom')\nfor n in range(30):\n    crunch(n)\n"
    kernel.check(cell.format(""))
    made = len(calls(tmp_path))

    plan = said(kernel.check(cell.format(" --rerun-from 1.1 --plan")))
    assert "forking mail at step 1.1: 1 step replayed; 30 whose effects have already happened" in plan
    assert "(crunch x30)" in plan
    assert len(calls(tmp_path)) == made

    reply = said(kernel.check(cell.format(" --rerun-from 1.1")))
    assert "forking mail at step 1.1: 1 step replayed" in reply
    told = "leaves behind 30 steps whose effects have already happened (crunch x30)"
    assert reply.index(told) < reply.index("mail completed")
    assert len(calls(tmp_path)) == made + 30
    wrong = kernel.run(cell.format(" --rerun-from 9.9"))
    assert "no step '9.9'" in wrong.traceback


# -- debug -----------------------------------------------------------------------------------------

FAILING = """%%durable failing
notes.append(ask("one"))
where = 7
picked = pick([1, 2, 3], where)
"""


@pytest.mark.slow
def test_debug_shows_a_failed_step_as_it_was_made(kernel: Kernel, tmp_path: Path) -> None:
    """Its arguments by name, its error and traceback, the names of that moment; the notebook's own stay."""
    assert kernel.run(FAILING).ename == "IndexError"
    kernel.check("notes = 'mine'; where = 'mine'; del trace")
    made = calls(tmp_path)

    reply = kernel.check("%durable debug pick")

    assert "IndexError" in said(reply)
    assert "debug.args.at" in said(reply)
    assert "debug.ns.where" in said(reply)
    assert "debug.ns.asyncio" not in said(reply)
    assert "runtime/steps.py" not in said(reply)
    assert "Functions use the names that the notebook has now" in said(reply)
    assert kernel.check("debug.args.numbers, debug.args.at, type(debug.error).__name__").result == (
        "([1, 2, 3], 7, 'IndexError')"
    )
    assert "return numbers[at]" in (kernel.check("debug.traceback").result or "")
    assert kernel.check("debug.ns.notes, debug.ns.where, notes, where, 'trace' in globals()").result == (
        "(['answer to one'], 7, 'mine', 'mine', False)"
    )
    assert calls(tmp_path) == made, "nothing was called"
    kernel.check(TOOLS)
    assert kernel.run("debug.call()").ename == "IndexError"
    assert calls(tmp_path) == [*made, "pick [1, 2, 3] 7"]
    assert kernel.run("%durable debug failing 9.9").ename == "RunNotFoundError"
    assert kernel.run("%durable debug").ename == "UsageError"


@pytest.mark.slow
def test_debug_pdb_asks_for_input(kernel: Kernel) -> None:
    """The tool's first line, its arguments, on; after the error, where it was raised. Sync and async."""
    kernel.run(FAILING)
    said_ = _debugged(kernel, "%durable debug failing pick --pdb", ["p at + 100", "c", "p len(numbers)", "q"])
    assert "107" in said_
    assert "3" in said_

    kernel.check("%%durable pages\nawait fetch('u', seconds=0)")
    said_ = _debugged(kernel, "%durable debug pages fetch --pdb", ["p url * 2", "c"])
    assert "uu" in said_


def _debugged(kernel: Kernel, code: str, answers: list[str]) -> str:
    """Run a cell that reads from stdin, and answer; what it printed."""
    reply = kernel.submit(code, allow_stdin=True)
    for answer in answers:
        message = kernel.client.get_stdin_msg(timeout=60)
        assert message["msg_type"] == "input_request"
        kernel.client.input(answer)
    kernel.wait(reply).check()
    return reply.stdout


# -- diff and delete -------------------------------------------------------------------------------


@pytest.mark.slow
def test_diff_and_delete(kernel: Kernel, tmp_path: Path) -> None:
    """Where two runs part, and how; a parent can go, and its fork replays all the same."""
    kernel.check(SEQUENTIAL)
    parent = json.loads((kernel.check("durable.open_store().runs()[0].id").result or "").replace("'", '"'))
    kernel.check("%durable fork plain --at pick --set result=5")

    shown = said(kernel.check(f"%durable diff {parent} plain"))
    assert "first differs at step 1.1 pick" in shown
    assert "-2" in shown
    assert "+5" in shown
    assert "crunch" in shown
    html = kernel.check(f"durable.diff({parent!r}, 'plain')")
    assert "text/html" in html._of("execute_result")[0]["data"]
    assert kernel.check(f"durable.diff({parent!r}, {parent!r}).same").result == "True"

    made = calls(tmp_path)
    reply = kernel.check(f"%durable delete {parent}")
    assert "what its forks need stays" in said(reply)
    assert kernel.run(f"%durable show {parent}").ename == "RunNotFoundError"
    kernel.check("%durable goto plain crunch")
    assert kernel.check("notes").result == "['answer to one', 5]"
    assert calls(tmp_path) == made
    assert kernel.check("durable.open_store().verify()").result == "[]"


@pytest.mark.slow
def test_tasks_that_nobody_awaits_say_nothing_of_it(kernel: Kernel) -> None:
    """They are stopped where a replay ends; that is no error of theirs that was never retrieved."""
    kernel.check("""%%durable loose
async def work(name):
    return await fetch(await fetch(name))

tasks = [asyncio.create_task(work(name)) for name in "abc"]
await asyncio.sleep(0.05)
done = [await task for task in tasks]
""")
    deep = step(kernel, "loose", "'page page b'")
    kernel.check(f"%durable goto loose {deep}")
    reply = kernel.check("tasks = None\nimport gc\ngc.collect()\nawait asyncio.sleep(0.05)")
    assert reply.stderr == ""
