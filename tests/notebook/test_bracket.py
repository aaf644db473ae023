"""`%%durable` leaves an ordinary cell ordinary, and tells its host exactly when it begins and ends."""

from __future__ import annotations

import nbformat
import pytest
from kernels import Kernel
from nbclient import NotebookClient

HOST = """
import asyncio, contextvars, sys, threading, time
from jupyter_durable.kernel import bracket

class Parked(BaseException):
    "control flow"

class Host:
    def __init__(self):
        self.cells = {}
        self.log, self.begin_error, self.finish_error, self.replacement = [], None, None, None
        self.scope = contextvars.ContextVar("scope", default=None)

    def begin(self, header, cell):
        self.log.append(("begin", header, cell))
        if self.begin_error:
            raise self.begin_error
        self.cells[id(cell)] = self.scope.set(header), asyncio.current_task() if cell.is_async else None

    def finish(self, cell, result, error):
        token, task = self.cells.pop(id(cell), (None, None))
        same = not cell.is_async or asyncio.current_task() is task
        self.log.append(("finish", cell.header, type(error).__name__, self.scope.get(), same))
        if token:
            self.scope.reset(token)
        if isinstance(error, Parked) and self.replacement == "success":
            result.error_in_exec = None
        if self.finish_error:
            raise self.finish_error

    def replace_error(self, cell, error):
        return self.replacement if isinstance(error, Parked) and self.replacement != "success" else None

ip = get_ipython()
PATCHED = "run_cell_async", "showtraceback", "_showtraceback", "__durable__"
found = {name: ip.__dict__.get(name) for name in PATCHED}
host = Host()
uninstall = bracket.install(get_ipython(), host)

def reset():
    host.__init__()
"""


@pytest.fixture(scope="module", autouse=True)
def installed(kernel: Kernel) -> None:
    """The trivial host, installed once in the module's kernel."""
    kernel.check(HOST)


@pytest.fixture(autouse=True)
def clean(installed: None, kernel: Kernel) -> None:
    """An empty log for each test."""
    kernel.check("reset()", silent=True)


def log(kernel: Kernel) -> str:
    """What the host was told so far."""
    reply = kernel.check("print([(e[:2] if e[0] == 'begin' else e) for e in host.log])")
    return reply.stdout.strip()


def ran(header: str = "", error: str = "NoneType") -> str:
    """What the host is told of one cell: in its own scope, context and task."""
    return str([("begin", header), ("finish", header, error, header, True)])


# -- an ordinary cell ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "result", "stdout"),
    [
        ("6 * 7", "42", ""),
        ("6 * 7;", None, ""),
        ("x = 5\nx", "5", ""),
        ("await asyncio.sleep(0, 'top')", "'top'", ""),
        ("await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))", "[1, 2]", ""),
        ("async with asyncio.timeout(9):\n    y = await asyncio.sleep(0, 3)\ny", "3", ""),
        (
            "async with asyncio.TaskGroup() as g:\n    t = g.create_task(asyncio.sleep(0, 4))\nt.result()",
            "4",
            "",
        ),
        ("x = !echo shell\nlist(x)", "['shell']", ""),
        ("print('a')\n%time z = 1 + 1\nz", "2", None),
        (
            "from __future__ import annotations\ndef f(a: Nowhere): ...\nf.__annotations__",
            "{'a': 'Nowhere'}",
            "",
        ),
        ("class A:\n    async def f(self): return 'm'\nawait A().f()", "'m'", ""),
        ("async def count():\n    yield 1\n    yield 2\n[i async for i in count()]", "[1, 2]", ""),
        ("", None, ""),
    ],
)
def test_body_runs_natively(kernel: Kernel, body: str, result: str | None, stdout: str | None) -> None:
    """Top-level await, the last expression, `;`, `!cmd`, `%time` and __future__ imports work as without it."""
    reply = kernel.check(f"%%durable research\n{body}")
    assert reply.results == ([] if result is None else [result])
    if stdout is not None:
        assert reply.stdout == stdout
    assert log(kernel) == ran("research")


def test_shell_command_prints(kernel: Kernel) -> None:
    """A bare `!cmd` line shows its output."""
    assert kernel.check("%%durable\n!echo out").stdout.strip() == "out"


def test_last_results_are_kept(kernel: Kernel) -> None:
    """`_` and `Out[n]` know a durable cell's value, and `In[n]` its number."""
    reply = kernel.check("%%durable\n'kept'")
    assert kernel.check("_").result == "'kept'"
    assert kernel.check(f"Out[{reply.execution_count}]").result == "'kept'"
    assert "'kept'" in kernel.check(f"In[{reply.execution_count}]").result


@pytest.mark.parametrize("before", ["\n\n", "   \n", "    ", "\n  "])
def test_blank_lines_and_indentation_before(kernel: Kernel, before: str) -> None:
    """Leading blank lines and a cell that is indented as a whole are allowed, as IPython allows them."""
    indent = before.rpartition("\n")[2]
    reply = kernel.check(
        f"{before}%%durable in\n{indent}if 1:\n{indent}    v = await asyncio.sleep(0, 7)\n{indent}v"
    )
    assert reply.result == "7"
    assert log(kernel) == ran("in")
    assert (
        kernel.check("print(host.log[0][2].source)").stdout == "if 1:\n    v = await asyncio.sleep(0, 7)\nv\n"
    )


def test_line_numbers_in_tracebacks(kernel: Kernel) -> None:
    """The failing line has the number the user sees, and line 1 reads as the user wrote it."""
    for body in ("1 / 0", "await asyncio.sleep(0); 1 / 0"):
        reply = kernel.run(f"%%durable research --new\nok = 1\n{body}\n")
        assert reply.ename == "ZeroDivisionError"
        assert len(reply.tracebacks) == 1
        assert f"----> 3 {body}" in reply.traceback
        assert "      1 %%durable research --new\n" in reply.traceback
        assert "__durable__" not in reply.traceback
    assert log(kernel) == str(
        [
            ("begin", "research --new"),
            ("finish", "research --new", "ZeroDivisionError", "research --new", True),
        ]
        * 2
    )


def test_traceback_through_an_earlier_durable_cell(kernel: Kernel) -> None:
    """An error that a durable cell kept and a later cell raises shows that cell's line 1 as written too."""
    kernel.check("%%durable lib\ntry: 1 / 0\nexcept Exception as e: kept = e")
    reply = kernel.run("raise kept")
    assert "      1 %%durable lib\n" in reply.traceback
    assert "__durable__" not in reply.traceback


def test_syntax_error_positions(kernel: Kernel) -> None:
    """A SyntaxError names the right line, and no run begins."""
    reply = kernel.run("%%durable\na = 1\nb = = 2\n")
    assert reply.ename == "SyntaxError"
    assert "line 3" in reply.evalue or "line 3" in reply.traceback or ":3" in reply.traceback
    assert "b = = 2" in reply.traceback
    assert log(kernel) == "[]"


def test_stays_sync_or_async(kernel: Kernel) -> None:
    """A cell without await is not made async, and the host is told which it is."""
    kernel.check("%%durable\nx = 1")
    kernel.check("%%durable\nawait asyncio.sleep(0)")
    assert kernel.check("[e[2].is_async for e in host.log if e[0] == 'begin']").result == "[False, True]"


def test_cell_info(kernel: Kernel) -> None:
    """The host gets the source without line 1, the header, the cell's id as sent, and its number."""
    reply = kernel.check("%%durable  a --tool 'b c' \nx = 1\n", cell_id="vscode-notebook-cell:/n.ipynb#W0")
    info = kernel.check("print(host.log[0][2])").stdout.strip()
    assert info == (
        "CellInfo(source='x = 1\\n', header=\"a --tool 'b c'\", "
        f"cell_id='vscode-notebook-cell:/n.ipynb#W0', execution_count={reply.execution_count}, is_async=False)"
    )
    kernel.check("%%durable\n1")
    assert kernel.check("[e[2].cell_id for e in host.log if e[0] == 'begin'][-1] is None").result == "True"


# -- together with other magics ----------------------------------------------------------------------------


def test_time_below(kernel: Kernel) -> None:
    """`%%time` on line 2 times the body, inside the run."""
    reply = kernel.check("%%durable t\n%%time\nw = 3\nprint(host.scope.get())")
    assert "t\n" in reply.stdout
    assert "Wall time" in reply.stdout
    assert kernel.check("w").result == "3"
    assert log(kernel) == ran("t")


def test_time_above(kernel: Kernel) -> None:
    """`%%durable` below `%%time` works too: the body is the run."""
    reply = kernel.check("%%time\n%%durable t\nprint(host.scope.get())")
    assert "t\n" in reply.stdout
    assert "Wall time" in reply.stdout
    assert log(kernel) == ran("t")
    assert kernel.check("host.log[0][2].source").result == repr("print(host.scope.get())")


@pytest.mark.parametrize("order", ["%%durable c\n%%capture got\n", "%%capture got\n%%durable c\n"])
def test_capture(kernel: Kernel, order: str) -> None:
    """`%%capture` keeps what the body prints, above or below."""
    assert kernel.check(f"{order}print('inside', host.scope.get())").stdout == ""
    assert kernel.check("print(got.stdout)").stdout == "inside c\n\n"
    assert log(kernel) == ran("c")


def test_capture_below_does_not_hide_an_error(kernel: Kernel) -> None:
    """An error under `%%capture` is not reported to the host as a success."""
    kernel.run("%%durable c\n%%capture got\n1 / 0")
    assert log(kernel) == ran("c", "ZeroDivisionError")


# -- where it may stand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("# my run\n%%durable a\n1", "comment above it"),
        ("x = 1\n%%durable a\n1", "line 1"),
        ("%%durable a\nx = 1\n%%durable b\n1", "twice"),
        ("%%durable a\n%%durable b\n1", "twice"),
    ],
)
def test_misplaced(kernel: Kernel, code: str, words: str) -> None:
    """Elsewhere than on line 1 it is refused, in words, without a traceback, and nothing runs."""
    reply = kernel.run(code)
    assert not reply.ok
    assert reply.stderr.startswith("UsageError: %%durable")
    assert words in reply.stderr
    assert "hint:" in reply.stderr
    assert reply.tracebacks == []
    assert log(kernel) == "[]"


@pytest.mark.parametrize(
    "code",
    ["t = '''\n%%durable x\n'''\nprint(len(t))", "%%durable\nt = '''\n%%durable x\n'''\nprint(len(t))"],
)
def test_text_that_looks_like_it(kernel: Kernel, code: str) -> None:
    """`%%durable` inside a string is text."""
    assert kernel.check(code).stdout == "13\n"


def test_whole_word_only(kernel: Kernel) -> None:
    """`%%durability` is somebody else's magic."""
    reply = kernel.run("%%durability x\n1")
    assert "`%%durability` not found" in reply.stderr
    assert log(kernel) == "[]"


def test_registered_for_help_and_completion(kernel: Kernel) -> None:
    """`%%durable?` explains the options, `%lsmagic` lists it, and running the magic directly is refused."""
    assert "--park-after" in kernel.check("get_ipython().find_cell_magic('durable').__doc__").result
    assert "%%durable" in kernel.check("print(get_ipython().run_line_magic('lsmagic', ''))").stdout
    assert "%%durable" in kernel.check("print(get_ipython().complete('%%dura')[1])").stdout
    reply = kernel.run("get_ipython().run_cell_magic('durable', '', '1')")
    assert "UsageError" in reply.stderr
    kernel.check("%%durable?")
    assert log(kernel) == "[]"


def test_switched_off(kernel: Kernel) -> None:
    """With JUPYTER_DURABLE=off the cell is an ordinary one, magics below it included."""
    kernel.check("import os; os.environ['JUPYTER_DURABLE'] = 'off'")
    try:
        assert kernel.check("%%durable a\nawait asyncio.sleep(0, 'plain')").result == "'plain'"
        assert "Wall time" in kernel.check("%%durable a\n%%time\n1").stdout
        assert "----> 2 1 / 0" in kernel.run("%%durable a\n1 / 0").traceback
    finally:
        kernel.check("del os.environ['JUPYTER_DURABLE']")
    assert log(kernel) == "[]"


# -- ends -----------------------------------------------------------------------------------------------------


def test_begin_may_refuse(kernel: Kernel) -> None:
    """An error in `begin` ends the cell before its code runs, and `finish` is still called."""
    kernel.check("host.begin_error = ValueError('held by another kernel'); touched = False")
    for body in ("touched = True", "touched = await asyncio.sleep(0, True)"):
        reply = kernel.run(f"%%durable a\n{body}")
        assert (reply.ename, reply.evalue) == ("ValueError", "held by another kernel")
        assert "----> 1 %%durable a" in reply.traceback
    assert kernel.check("touched").result == "False"
    assert log(kernel).count("('finish', 'a', 'ValueError', None, ") == 2


def test_finish_error_is_the_cells(kernel: Kernel) -> None:
    """An error in `finish` is shown once and fails the cell; the kernel lives on."""
    for body in ("1", "await asyncio.sleep(0)"):
        kernel.check("host.finish_error = OSError('disk full')")
        reply = kernel.run(f"%%durable a\n{body}")
        assert (reply.status, reply.ename, len(reply.tracebacks)) == ("error", "OSError", 1)
        kernel.check("host.finish_error = KeyboardInterrupt()")
        assert kernel.run(f"%%durable a\n{body}").ename == "KeyboardInterrupt"
    assert kernel.check("1 + 1").result == "2"


def test_error_replaced_by_lines(kernel: Kernel) -> None:
    """The host may show its own lines for an error, also for one raised while a group was handled."""
    kernel.check("host.replacement = ['parked until Monday']")
    for body in (
        "raise Parked()",
        "await asyncio.sleep(0)\nraise Parked()",
        "try:\n    raise ExceptionGroup('g', [ValueError()])\nexcept ExceptionGroup:\n    raise Parked()",
    ):
        reply = kernel.run(f"%%durable a\n{body}")
        assert (reply.status, reply.ename) == ("error", "Parked")
        assert reply.tracebacks == ["parked until Monday"]
        assert reply.stderr == ""
    kernel.check("host.replacement = []")
    reply = kernel.run("%%durable a\nraise Parked()")
    assert (reply.status, reply.outputs) == ("error", [])
    kernel.check("host.replacement = ['parked until Monday']")
    assert "raise Parked()" in kernel.run("raise Parked()").traceback, "other cells keep their tracebacks"


def test_error_turned_into_success(kernel: Kernel) -> None:
    """The host may end the cell as a success."""
    kernel.check("host.replacement = 'success'")
    assert kernel.run("%%durable a\nawait asyncio.sleep(0)\nraise Parked()").status == "ok"
    assert kernel.run("%%durable a\nraise Parked()").status == "ok"


def test_nothing_leaks_into_later_cells(kernel: Kernel) -> None:
    """After a sync or async durable cell, ended any way, the next cell is in no scope."""
    for body in ("1", "await asyncio.sleep(0)", "1 / 0", "raise KeyboardInterrupt", "%run -i nowhere.py"):
        kernel.run(f"%%durable leak\n{body}")
        assert kernel.check("print(host.scope.get(), bracket._frame.get().cell)").stdout == "None None\n"
        assert (
            kernel.check("await asyncio.sleep(0, (host.scope.get(), bracket._frame.get().cell))").result
            == "(None, None)"
        )
    assert (
        kernel.check(
            "sum(e[0] == 'begin' for e in host.log) == sum(e[0] == 'finish' for e in host.log)"
        ).result
        == "True"
    )


def test_scope_reaches_tasks_and_threads_of_the_cell(kernel: Kernel) -> None:
    """What the host sets in `begin` is seen in the cell, its tasks and `to_thread`."""
    reply = kernel.check(
        "%%durable deep\n"
        "async def see(): return host.scope.get()\n"
        "[host.scope.get(), await see(), *await asyncio.gather(see(), asyncio.to_thread(host.scope.get))]"
    )
    assert reply.result == "['deep', 'deep', 'deep', 'deep']"


def test_cells_run_by_a_cell(kernel: Kernel) -> None:
    """`run_cell` and `%run file.ipy` inside an ordinary cell bracket the durable cells they run."""
    kernel.check("get_ipython().run_cell('%%durable inner\\nprint(host.scope.get())')")
    assert log(kernel) == ran("inner")
    kernel.check("reset(); open('s.ipy', 'w').write('%%durable ipy\\nprint(host.scope.get())\\n')")
    assert kernel.check("%run s.ipy").stdout == "ipy\n"
    assert log(kernel) == ran("ipy")


def test_autoawait_off(kernel: Kernel) -> None:
    """`%autoawait off` is respected."""
    kernel.check("%autoawait off")
    try:
        assert kernel.check("%%durable s\nhost.scope.get()").result == "'s'"
        assert kernel.run("%%durable s\nawait asyncio.sleep(0)").ename == "SyntaxError"
    finally:
        kernel.check("%autoawait on")


def test_parallel_cells_do_not_mix(kernel: Kernel) -> None:
    """A durable cell on the main shell and one on a subshell run at once, each in its own scope."""
    if kernel.check("import ipykernel; ipykernel.version_info[0]").result == "6":
        pytest.skip("ipykernel 6 has no subshells")
    subshell = kernel.subshell()
    body = (
        "import time\n{mine}.set()\nassert {other}.wait(10)\n"
        "time.sleep(0.05)\nprint(host.scope.get(), bracket._frame.get().cell.header)\n"
    )
    kernel.check("one, two = threading.Event(), threading.Event()")
    first = kernel.submit("%%durable first\n" + body.format(mine="one", other="two"))
    second = kernel.submit("%%durable second\n" + body.format(mine="two", other="one"), subshell=subshell)
    assert kernel.wait(first, 15).check().stdout == "first first\n"
    assert kernel.wait(second, 15).check().stdout == "second second\n"


# -- coming and going -------------------------------------------------------------------------------------------


def test_installing_twice_and_uninstalling(kernel: Kernel) -> None:
    """Installing again only exchanges the host; uninstalling leaves the shell as it was found."""
    kernel.check("again = bracket.install(get_ipython(), host)")
    kernel.check("%%durable once\n1")
    assert log(kernel) == ran("once")
    try:
        kernel.check("uninstall(); uninstall()")
        assert kernel.check("{name: ip.__dict__.get(name) for name in PATCHED} == found").result == "True"
        assert kernel.check("bracket.transform in ip.input_transformers_cleanup").result == "False"
        assert "not found" in kernel.run("%%durable gone\n1").stderr
    finally:
        kernel.check("uninstall = bracket.install(get_ipython(), host)")
    kernel.check("%%durable back\n1")
    assert "('begin', 'back')" in log(kernel)


@pytest.mark.slow
def test_under_nbclient(tmp_path: object) -> None:
    """A headless run of a notebook with durable cells gives the outputs a front end gets."""
    cells = [
        HOST,
        "%%durable nb\nprint('hi')\nawait asyncio.sleep(0, 'value')",
        "print([e[:2] for e in host.log])",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = notebook.cells[1].outputs
    assert [o["output_type"] for o in outputs] == ["stream", "execute_result"]
    assert outputs[1]["data"]["text/plain"] == "'value'"
    assert "('finish', 'nb')" in notebook.cells[2].outputs[0]["text"]
