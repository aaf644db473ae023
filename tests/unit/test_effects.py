"""Effects outside steps are noticed where the user's code causes them, and nowhere else."""

from __future__ import annotations

import asyncio
import linecache
import logging
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from jupyter_durable.runtime.effects import Effect, EffectWatch, quiet

SCOPE: ContextVar[bool] = ContextVar("SCOPE", default=False)
NOTEBOOK = types.ModuleType("notebook")


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EffectWatch]:
    """A watch whose user code is `NOTEBOOK`, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    made = EffectWatch(
        SCOPE.get, lambda path: path.endswith(".ignored"), lambda names: names is vars(NOTEBOOK)
    )
    made.install()
    yield made
    made.remove()


def cell(source: str, *, scope: bool = True, **names: Any) -> Any:
    """Run `source` as a notebook cell does: compiled under a name that linecache knows."""
    vars(NOTEBOOK).update(names)
    file = f"<cell {abs(hash(source))}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    token = SCOPE.set(scope)
    try:
        exec(compile(source, file, "exec"), vars(NOTEBOOK))
    finally:
        SCOPE.reset(token)
    return vars(NOTEBOOK).get("result")


def test_a_process_started_outside_a_step_is_noticed_once(watch: EffectWatch) -> None:
    """The place, the command and the very step that would make it safe; a loop is one place."""
    cell(
        "import subprocess\n\nfor _ in range(3):\n    out = subprocess.run([exe, '-c', 'pass'], check=True)\n",
        exe=sys.executable,
    )
    assert watch.drain() == [
        Effect(
            "process",
            f"{sys.executable} -c pass"[:80],
            "cell line 4",
            "durable.step(\"run\", subprocess.run, [exe, '-c', 'pass'], check=True)",
            3,
        )
    ]
    assert watch.drain() == []


def test_other_ways_to_start_a_process(watch: EffectWatch) -> None:
    """os.system, os.popen, posix_spawn and fork are processes, each at its line."""
    cell(
        "import os\n"
        "os.system('true')\n"
        "os.popen('true').close()\n"
        "os.waitpid(os.posix_spawn('/bin/true', ['true', 'x'], {}), 0)\n"
        "child = os.fork()\n"
        "os._exit(0) if child == 0 else os.waitpid(child, 0)\n"
    )
    seen = watch.drain()
    assert [(e.kind, e.where) for e in seen] == [("process", f"cell line {n}") for n in (2, 3, 4, 5)]
    assert seen[0].suggestion == "durable.step(\"system\", os.system, 'true')"
    assert seen[2].what == "true x"


def test_a_file_written_outside_a_step_is_noticed_and_one_read_is_not(
    watch: EffectWatch, tmp_path: Path
) -> None:
    """Modes that write count; reading, ignored paths, caches and file descriptors do not."""
    cell(
        "import os, pathlib\n"
        "pathlib.Path('report.txt').write_text('x')\n"
        "open('report.txt').read()\n"
        "open('log.txt', 'a').close()\n"
        "open('own.ignored', 'w').close()\n"
        "os.close(os.open('raw.bin', os.O_CREAT | os.O_RDWR))\n"
        "os.rename('raw.bin', 'other.bin')\n"
        "os.remove('other.bin')\n"
        "open(os.dup(1), 'w').close()\n"
        "open(os.devnull, 'w').close()\n"
    )
    seen = watch.drain()
    assert [(e.what, e.where) for e in seen] == [
        ("report.txt", "cell line 2"),
        ("log.txt", "cell line 4"),
        ("raw.bin", "cell line 6"),
        ("raw.bin (renamed)", "cell line 7"),
        ("other.bin (removed)", "cell line 8"),
    ]
    assert seen[0].suggestion == "durable.step(\"write_text\", pathlib.Path('report.txt').write_text, 'x')"
    assert "write()" in seen[1].suggestion, "a file handle is no result a step can keep"


def test_a_database_opened_outside_a_step_is_noticed(watch: EffectWatch) -> None:
    """SQLite opens its file in C; its own event tells."""
    cell("db = sqlite3.connect('notes.db')\ndb.close()\nsqlite3.connect(':memory:').close()", sqlite3=sqlite3)
    assert [(e.kind, e.what, e.where) for e in watch.drain()] == [("file", "notes.db", "cell line 1")]


def test_a_function_of_the_notebook_is_named(watch: EffectWatch) -> None:
    """The effect is in the function: it is what becomes the step."""
    cell("def save(text):\n    with open('out.txt', 'w') as file:\n        file.write(text)\n\nsave('x')\n")
    (effect,) = watch.drain()
    assert (effect.where, effect.suggestion) == ("cell line 2 in save()", 'durable.step("save", save, ...)')
    assert "outside a step" in str(effect)


def test_what_is_handed_on_is_no_step_by_itself(watch: EffectWatch) -> None:
    """Not `durable.step("submit", pool.submit, …)`, whose result would be a future: the function around it."""

    class Pool:
        @staticmethod
        def submit(fn: Callable[[], object]) -> None:
            fn()

    cell(
        "def save():\n    pool.submit(write)\n\nsave()\n",
        pool=Pool(),
        write=lambda: Path("out.txt").write_text("x"),
    )
    (effect,) = watch.drain()
    assert effect.suggestion == 'durable.step("save", save, ...)'


def test_a_connection_is_noticed_and_local_sockets_are_not(watch: EffectWatch, tmp_path: Path) -> None:
    """TCP counts; a Unix socket, a datagram socket and an instrument that passes through on purpose do not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as local:
            local.bind(path)
            local.listen()
            cell(
                "socket.create_connection(('127.0.0.1', port)).close()\n"
                "with socket.socket(socket.AF_UNIX) as s:\n    s.connect(path)\n"
                "with socket.socket(type=socket.SOCK_DGRAM) as s:\n    s.connect(('127.0.0.1', port))\n"
                "with quiet():\n    socket.create_connection(('127.0.0.1', port)).close()\n",
                socket=socket,
                port=port,
                path=path,
                quiet=quiet,
            )
    assert [(e.kind, e.what, e.where) for e in watch.drain()] == [
        ("connection", f"127.0.0.1:{port}", "cell line 1")
    ]


def test_an_awaited_call_is_found_in_its_task(watch: EffectWatch) -> None:
    """A coroutine's frames are the user's; the suggestion awaits the step."""

    async def write(name: str) -> None:
        Path(name).write_text("x")

    cell(
        "async def main():\n    await asyncio.gather(one())\n\n"
        "async def one():\n    return await write(\n        'late.txt',\n    )\n\nasyncio.run(main())\n",
        asyncio=asyncio,
        write=write,
    )
    (effect,) = watch.drain()
    assert effect.where == "cell line 5 in one()"
    assert effect.suggestion == "await durable.step(\"write\", write, 'late.txt')"


def test_a_librarys_thread_counts_without_a_line(watch: EffectWatch) -> None:
    """Work handed to a thread has no frame of the user's; it is still the run's effect."""
    cell("asyncio.run(asyncio.to_thread(path.write_text, 'x'))", asyncio=asyncio, path=Path("threaded.txt"))
    (effect,) = watch.drain()
    assert (effect.what, effect.where) == ("threaded.txt", "a background task")


def test_nothing_is_noticed_outside_a_scope_or_after_the_end(watch: EffectWatch) -> None:
    """Other cells, the inside of steps, and the time after the last run are silent."""
    cell("open('a.txt', 'w').close()", scope=False)
    assert watch.drain() == []
    watch.install()
    watch.remove()
    cell("open('b.txt', 'w').close()")
    assert len(watch.drain()) == 1
    watch.remove()
    cell("open('c.txt', 'w').close()")
    assert watch.drain() == []


def test_the_kernels_own_doing_is_not_the_users(watch: EffectWatch) -> None:
    """History, logging, temporary files and imports are written below the user's frames, and not counted."""
    kernel = types.ModuleType("ipykernel.iostream")
    history = types.ModuleType("IPython.core.history")
    shell = types.ModuleType("ipykernel.zmqshell")
    for module in (kernel, history, shell):
        exec("def touch(name):\n    open(name, 'w').close()", vars(module))
    handler = logging.FileHandler("run.log", delay=True)
    log = logging.Logger("test")
    log.addHandler(handler)
    try:
        cell(
            "kernel('a.txt')\nhistory('b.txt')\nlog.warning('x')\n"
            "with tempfile.NamedTemporaryFile(): pass\nshell('d.txt')\n",
            kernel=kernel.touch,
            history=history.touch,
            shell=shell.touch,
            tempfile=tempfile,
            log=log,
        )
    finally:
        handler.close()
    assert [e.what for e in watch.drain()] == ["d.txt"], "`!cmd` goes through IPython too, and is the user's"
    token = SCOPE.set(True)
    try:
        shell.touch("e.txt")
    finally:
        SCOPE.reset(token)
    assert watch.drain() == [], "IPython's own, with nobody of the user's above it"


def test_places_are_capped(watch: EffectWatch) -> None:
    """A cell of a hundred effects makes a notice one can read."""
    cell("\n".join(f"open('{n}.txt', 'w').close()" for n in range(100)))
    assert len(watch.drain()) == 20


def test_an_error_in_the_watch_never_stops_the_user(tmp_path: Path) -> None:
    """What the runtime passes in may be broken; the file is written all the same."""

    def broken() -> bool:
        raise RuntimeError

    watch = EffectWatch(broken)
    watch.install()
    try:
        (tmp_path / "x").write_text("y")
    finally:
        watch.remove()
    assert (tmp_path / "x").read_text() == "y"


def test_many_threads_are_noticed_without_loss_of_a_place(watch: EffectWatch) -> None:
    """Notes are taken from any thread."""
    source = "def work(n):\n    open(f'{n}.txt', 'w').close()\n"
    cell(source)

    def body(n: int) -> None:
        SCOPE.set(True)
        vars(NOTEBOOK)["work"](n)

    threads = [threading.Thread(target=body, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = watch.drain()
    assert [effect.where for effect in seen] == ["cell line 2 in work()"]
    assert len(list(Path().iterdir())) == 8


def test_a_process_without_runs_has_no_hook() -> None:
    """Importing the module puts nothing into the interpreter; only a run does."""
    code = (
        "import sys\n"
        "added = []\n"
        "sys.addaudithook(lambda event, args: added.append(event) if event == 'sys.addaudithook' else None)\n"
        "from jupyter_durable.runtime.effects import EffectWatch\n"
        "watch = EffectWatch(lambda: True)\n"
        "assert added == []\n"
        "for _ in range(3):\n"
        "    watch.install(); watch.remove()\n"
        "assert added == ['sys.addaudithook'], added\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
