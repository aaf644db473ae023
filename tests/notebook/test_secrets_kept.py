"""Secrets of every kind in real kernels that die: nothing on disk or on screen has one, and every one comes back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from kernel_agents import LOAD, TOOLS, counts, moved_to, said, session
from kernels import Kernel, KernelDied, Reply
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_durable.kernel.cells import identify
from jupyter_durable.session import open_store
from jupyter_durable.session.watching import Watch

pytestmark = pytest.mark.slow

PLANTED = {
    # of a known shape
    "snapshot": "sk-proj-Snap0shotData1111111111",
    "statement": "sk-ant-api03-Statement222222222222",
    "source": "AIzaCellSource3333333333333333333333333",
    "result": "ghp_Result44444444444444444444444444",
    "nested": "AKIANESTED5555555555",
    "dataclass": "hf_Dataclass6666666666666666666666",
    "error": "github_pat_Error77777777777777777777",
    "attempt": "gsk_Attempt888888888888888888888888",
    "stdout": "xoxb-9999999999-Stdout",
    "log": "eyJhbGciOiJMT0cifQ.eyJzdWIiOiJsb2cifQ.TG9nTG9nTG9n",
    "item": "sk-Generator0000000000000000",
    "mutated": "sk-MutatedAAAAAAAAAAAAAAAA1",
    "child": "sk-ChildRunBBBBBBBBBBBBBBBB2",
    "supplied": "sk-SuppliedCCCCCCCCCCCCCCCC3",
    "step": "sk-StepNameDDDDDDDDDDDDDDDD4",
    "header": "Header.EEEEEEEEEEEEEE5",  # Bearer
    "closure": "sk-ClosureFFFFFFFFFFFFFFFF6",
    # of none: known by their place
    "argument": "argument-plain-7g7g",  # SecretStr
    "login": "login-plain-8h8h",  # access_token
    "password": "password plain 9i9i",  # password
    "cookie": "cookie-plain-0j0j",  # cookies
    "environment": "environment-plain-1k1k",  # ..._API_KEY
    "named": "named-snapshot-2l2l",  # {"password": ...} in the snapshot
    "pattern": "cust-314159-mm",  # durable.redact
    "why": "cust-271828-nn",
}
READ = 'P = json.loads(pathlib.Path("planted.json").read_text())'

SETUP = """
import asyncio, dataclasses, json, os, pathlib, secrets, signal
import jupyter_durable as durable
from openai import OpenAI
from pydantic import SecretStr

durable.redact(r"cust-\\d{6}-[a-z]+")

def trace(line):
    with open("calls.txt", "a") as file:
        file.write(line + "\\n")

def planted(name):
    return json.loads(pathlib.Path("planted.json").read_text())[name]

@dataclasses.dataclass
class Account:
    user: str
    key: str

@durable.tool
def login(secret):
    trace("login")
    assert secret.get_secret_value() == planted("argument")
    return {"user": "me", "access_token": planted("login"), "password": planted("password"),
            "cookies": [planted("cookie")]}

@durable.tool
def use(token, n, api=None):
    trace(f"use {n}")
    return n

@durable.tool
def fetch(what):
    trace(f"fetch {what}")
    print("got", planted("stdout"))
    durable.log("with " + planted("log"), header=f"Bearer {planted('header')}", password=planted("password"),
                customer=planted("pattern"))
    return [{"a": [planted("nested")]}, planted("result"), Account("me", planted("dataclass"))]

@durable.tool
def fails(n):
    trace(f"fails {n}")
    raise ValueError("401 for " + planted("error"))

@durable.tool(retries=1, backoff=0.01)
def wobbly():
    trace("wobbly")
    if open("calls.txt").read().count("wobbly") % 2:
        raise OSError("again, with " + planted("attempt"))
    return "up"

@durable.tool
def words(n):
    trace(f"words {n}")
    for _ in range(n):
        yield planted("item")

@durable.tool
def more(messages):
    trace("more")
    messages.append({"content": planted("mutated")})

@durable.run("child")
def child(key):
    use(key, 50)
    return key

@durable.tool(effect="unsafe")
def send(to):
    trace("send")
    os.kill(os.getpid(), signal.SIGKILL)
"""
STATE = """
data = {"k": SNAPSHOT, "rows": [{"password": NAMED}]}
hidden = [SecretStr(NAMED)]
client = OpenAI(api_key=STATEMENT, base_url="http://127.0.0.1:9")
del SNAPSHOT, NAMED, STATEMENT
def keyed(key):
    return lambda: key
closure = keyed(CLOSURE)
del CLOSURE
"""
CELL = """%%durable agent
P = json.loads(pathlib.Path("planted.json").read_text())
wrong = []
def same(name, value, wanted=None):
    if value != (P[name] if wanted is None else wanted):
        wrong.append((name, len(str(value))))
same("snapshot", data["k"]), same("named", data["rows"][0]["password"]), same("named", hidden[0].get_secret_value())
same("statement", client.api_key), same("closure", closure())
account = login(SecretStr(P["argument"]))
same("login", account["access_token"]), same("password", account["password"]), same("cookie", account["cookies"][0])
use(account["access_token"], 1)
use("AIzaCellSource3333333333333333333333333", 2, api="environment-plain-1k1k")
use([P["pattern"], {"customer": P["pattern"]}], 3)
found = fetch("all")
same("nested", found[0]["a"][0]), same("result", found[1]), same("dataclass", found[2].key)
try:
    fails(1)
except ValueError as error:
    same("error", str(error), "401 for " + P["error"])
wobbly()
for item in list(words(3)):
    same("item", item)
messages = []
more(messages)
same("mutated", messages[0]["content"])
hexed = secrets.token_hex(16)
trace("hex " + hexed)
same("child", child(P["child"]))
durable.step("call " + P["step"], use, "x", 60)
told = send("somebody")
same("supplied", told)
wrong
"""
KILLS = (
    "after-call:1",
    "after-outcome:3",
    "after-start:2",
    "after-chunk:2",
    "after-outcome:3",
    "after-call:5",
)


def plant(folder: Path) -> dict[str, str | None]:
    """The secrets in a file outside the store, and the environment of a kernel."""
    (folder / "planted.json").write_text(json.dumps(PLANTED))
    return {**session(folder), "SOME_SERVICE_API_KEY": PLANTED["environment"], "OPENAI_API_KEY": None}


def forms(data: bytes) -> Iterator[bytes]:
    """The data, and what base64 in it stands for."""
    yield data
    for text in re.findall(rb"[A-Za-z0-9+/]{16,}={0,2}", data):
        for start in range(4):
            part = text[start:].rstrip(b"=")
            yield b64decode(part[: len(part) // 4 * 4])


def stored(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file that is not the test's own, and every payload and chunk of the store, decompressed."""
    for path in folder.rglob("*"):
        if (
            path.is_file()
            and path.name not in ("planted.json", "calls.txt", "nb.ipynb")
            and path.suffix != ".pyc"
        ):
            yield path.name, path.read_bytes()
    with open_store(str(folder / "journal.db")) as store:
        journal = store.journal
        for record in journal.runs():
            yield "run", repr(record).encode()
            for item in journal.inbox(record.id):
                yield "inbox", repr(item).encode() + (item.payload.body if item.payload else b"")
            for entry in journal.entries(record.id):
                yield f"{entry.type} {entry.scope}.{entry.pos}", json.dumps(entry.meta).encode()
                if entry.payload is None:
                    continue
                yield f"{entry.type} {entry.scope}.{entry.pos}", entry.payload.body
                todo = list(entry.payload.refs)
                while todo:
                    chunk = journal.chunk(todo.pop())
                    yield f"chunk of {entry.type}", chunk.data
                    todo += chunk.refs


def leaks(
    found: Iterator[tuple[str, bytes]], secrets: dict[str, str], times: int = 1
) -> list[tuple[str, str]]:
    """Which secret is where."""
    wanted = {name: value.encode() for name, value in secrets.items()}
    return sorted(
        {
            (name, where)
            for where, data in found
            for form in forms(data)
            for name, value in wanted.items()
            if value in form
        }
    )


def shown(replies: list[Reply]) -> Iterator[tuple[str, bytes]]:
    """All that the front end got."""
    for number, reply in enumerate(replies):
        yield f"reply {number}", json.dumps(reply.outputs).encode() + reply.evalue.encode()


def told(folder: Path, kernel: Kernel, *arguments: str) -> bytes:
    """What the command line says, on both streams."""
    command = [sys.executable, "-m", "jupyter_durable.cli", *arguments]
    done = subprocess.run(command, env=kernel.env, cwd=folder, capture_output=True, check=False)
    return done.stdout + done.stderr


def test_no_secret_is_stored_or_shown_and_each_comes_back(
    make_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    """A cell with a secret in every place, killed again and again and decided about; each fresh kernel runs only the cell."""
    env = plant(tmp_path)
    replies: list[Reply] = []

    def go(kernel: Kernel, *cells: str) -> Reply:
        for cell in cells:
            replies.append(kernel.submit(cell))
            kernel.wait(replies[-1], 30)
        return replies[-1]

    state = STATE
    for name in ("snapshot", "named", "statement", "closure"):
        state = re.sub(rf"\b{name.upper()}\b", repr(PLANTED[name]), re.sub(r"(?m)^del .*$", "", state))
    for number, kill in enumerate(KILLS):
        kernel = make_kernel(env={**env, "JUPYTER_DURABLE_CRASH_AT": kill})
        go(kernel, LOAD).check()
        if number == 0:
            go(kernel, SETUP).check()
            go(kernel, state).check()
        with pytest.raises(KernelDied):
            go(kernel, CELL)
        kernel.close()

    assert counts(tmp_path)["send"] == 1
    with open_store(str(tmp_path / "journal.db")) as store:
        run = store.runs(name="agent")[0]
        (doubt,) = [step for step in store.steps(run.id) if step.name == "send"]
        store.supply(run.id, doubt.id, PLANTED["supplied"], by=f"Bearer {PLANTED['header']}")

    kernel = make_kernel(env=env)
    assert go(kernel, LOAD, CELL).check().result == "[]"
    again = make_kernel(env=env)
    assert go(again, LOAD, CELL).check().result == "[]"
    assert "restored" in said(replies[-1])
    assert all(number == 1 for call, number in counts(tmp_path).items() if call.startswith(("use 2", "send")))

    go(again, "%durable list"), go(again, "%durable show agent"), go(again, f"%durable show agent {doubt.id}")
    go(again, "%%durable agent --new\nuse(" + repr(PLANTED["source"]) + ", 1, [](2))")
    hexes = [line[4:] for line in counts(tmp_path) if line.startswith("hex ")]
    assert len(hexes) == 1
    planted = {**PLANTED, "hex": hexes[0]}
    found = leaks(stored(tmp_path), planted)
    assert not found, found
    assert leaks(stored(tmp_path), {"what is no secret": "somebody"})
    # What a tool prints is the user's own; it is shown as it was, and stored sealed.
    assert {name for name, _ in leaks(shown(replies), planted)} <= {"stdout", "source"}
    for arguments in (("ls",), ("show", run.id), ("show", run.id, "--json"), ("verify",)):
        assert leaks(iter([("", told(tmp_path, again, *arguments))]), planted) == []
    assert b"\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2" in told(tmp_path, again, "show", run.id)


JOB = """%%durable job
P = json.loads(pathlib.Path("planted.json").read_text())
account = login(SecretStr(P["argument"]))
use(account["access_token"], 1)
found = fetch("all")
try:
    fails(1)
except ValueError as error:
    told = str(error).endswith(P["error"])
if not pathlib.Path("died").exists():
    pathlib.Path("died").touch()
    os.kill(os.getpid(), signal.SIGKILL)
items = list(words(2))
told, account["access_token"] == P["login"], found[2].key == P["dataclass"], items == [P["item"]] * 2
"""
FAILING = """%%durable failing
wobbly()
client = OpenAI(api_key=planted("statement"), base_url="http://127.0.0.1:9")
use(client, 3)
fails(2)
"""


def test_a_job_leaves_no_secret_in_its_notebook_nor_in_what_it_says(tmp_path: Path) -> None:
    """The output notebook, both streams and the store of a job whose kernel dies and whose last cell fails."""
    env = plant(tmp_path)
    secretless = SETUP.replace('durable.redact(r"cust', 'durable.redact(planted("pattern"), r"cust')
    defined = secretless.index("durable.redact")
    line_end = secretless.index("\n", defined)
    cells = [secretless[:defined] + secretless[line_end:], secretless[defined:line_end], JOB, FAILING]
    nb = new_notebook(cells=[new_code_cell(cell) for cell in [LOAD, *cells]])
    nbformat.write(nb, tmp_path / "nb.ipynb")
    variables = {**os.environ, **{name: value for name, value in env.items() if value is not None}}
    variables |= {
        "JUPYTER_DURABLE_STORE": str(tmp_path / "journal.db"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    variables.pop("JPY_SESSION_NAME")
    command = [sys.executable, "-m", "jupyter_durable.cli", "run", "nb.ipynb", "--json"]
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, check=False)

    output = nbformat.read(tmp_path / "nb.out.ipynb", as_version=4)
    assert output.cells[3].outputs[-1].data["text/plain"] == "(True, True, True, True)", done
    assert output.cells[4].outputs[-1].ename == "ValueError"
    assert counts(tmp_path)["login"] == counts(tmp_path)["fetch all"] == 1
    found = leaks(stored(tmp_path), PLANTED)
    # What the user's code prints, and the error that it raises, are the cell's own outputs.
    assert {where for _, where in found} <= {"nb.out.ipynb"}, found
    assert {name for name, _ in found} <= {"stdout", "error"}
    said = [("stdout", done.stdout), ("stderr", done.stderr)]
    assert not leaks(iter(said), PLANTED)
    assert b"401 for \\u2022\\u2022\\u2022" in done.stdout


def test_a_short_secret_in_a_cell_cannot_be_guessed(
    make_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    """What a cell's code is, is stored under the key; a run of a version that stored plain digests goes on all the same."""
    source = "ask('pin 4711')"
    plain = identify(source, {}).cell
    env = session(tmp_path)
    old = make_kernel(env={**env, "JUPYTER_DURABLE_CRASH_AT": "after-start:1"})
    for cell in (LOAD, TOOLS, "from jupyter_durable.kernel.launching import Launch"):
        old.check(cell)
    old.check("Launch.keyed = property(lambda launch: launch.identity)")
    with pytest.raises(KernelDied):
        old.run(f"%%durable\n{source}")
    assert leaks(stored(tmp_path), {"cell": plain, "name": plain[:8]})

    kernel = make_kernel(env=env)
    kernel.check(LOAD)
    reply = kernel.check(f"%%durable\n{source}")
    assert f"resuming cell-{plain[:8]}" in said(reply)
    assert counts(tmp_path) == {"ask pin 4711": 1}

    fresh = tmp_path / "fresh"
    fresh.mkdir()
    moved_to(kernel, fresh).check(f"%%durable\n{source}")
    assert counts(fresh) == {"ask pin 4711": 1}
    assert not leaks(stored(fresh), {"cell": plain, "name": f"cell-{plain[:8]}"})
    again = make_kernel(env={**session(tmp_path), "JUPYTER_DURABLE_STORE": str(fresh / "journal.db")})
    again.check(LOAD)
    assert "restored" in said(again.check(f"%%durable\n{source}"))


NOISY = """%%durable noisy
from IPython.display import HTML, display
import sys
P = json.loads(pathlib.Path("planted.json").read_text())
account = login(SecretStr(P["argument"]))

@durable.tool
def noisy(n):
    trace(f"noisy {n}")
    print("env:", os.environ["SOME_SERVICE_API_KEY"], P["login"])
    for part in (P["pattern"][:6], P["pattern"][6:], "\\n", P["result"][:12], P["result"][12:]):
        sys.stdout.write(part)
        sys.stdout.flush()
    print(f"Account(password={P['password']!r})", file=sys.stderr)
    display(HTML(f"<b>{P['argument']}</b>"), {"k": P["login"]})
    durable.log("cookie: " + P["cookie"], spent=f"x-api-key: {P['nested']}")
    return n

noisy(1)
noisy(2)
"""


def test_what_steps_print_and_display_is_the_notebooks_own(
    make_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    """It comes again when they replay; it is not in the store in the clear, nor in the timeline or what commands say."""
    env = plant(tmp_path)
    kernel = make_kernel(env={**env, "JUPYTER_DURABLE_CRASH_AT": "after-start:3"})
    for cell in (LOAD, SETUP):
        kernel.check(cell)
    with pytest.raises(KernelDied):
        kernel.run(NOISY)
    kernel = make_kernel(env=env)
    kernel.check(LOAD)
    reply = kernel.check(NOISY)
    assert reply.result == "2"
    assert counts(tmp_path) == {"login": 1, "noisy 1": 1, "noisy 2": 1}
    theirs = [output for output in reply.outputs if not _ours(output)]
    own = "".join(output.get("text", "") for output in theirs) + json.dumps(theirs)
    for name in ("environment", "login", "pattern", "result", "argument"):
        assert own.count(PLANTED[name]) >= 2, name

    assert not leaks(stored(tmp_path), {**PLANTED, "half": PLANTED["result"][12:]})
    ours = json.dumps([output for output in reply.outputs if _ours(output)])
    assert "noisy" in ours
    assert not leaks(iter([("", ours.encode())]), PLANTED)
    with open_store(str(tmp_path / "journal.db")) as store:
        run = store.runs(name="noisy")[0]
        watch = Watch(store, run.id)
        watch.read()
        rows = [watch.pages(), *(watch.texts([row]) for row in range(4))]
        told_of = [watch.value(step.id, what) for step in store.steps(run.id) for what in ("output", "log")]
        assert "env: •••" in repr(told_of)
        assert not leaks(iter([("timeline", repr((rows, told_of)).encode())]), PLANTED)
    for arguments in (("show", run.id), ("show", run.id, "--json"), ("show", run.id, "1.1")):
        assert not leaks(iter([("", told(tmp_path, kernel, *arguments))]), PLANTED)


def _ours(output: dict[str, Any]) -> bool:
    """Whether it is the run's own display."""
    return str(output.get("transient", {}).get("display_id", "")).startswith("jupyter-durable-")
