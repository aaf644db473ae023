"""A notebook's run as a regression test: it passes offline as long as the agent does the same, and says what it does else."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from kernel_agents import said
from kernels import Kernel
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_durable import open_store
from jupyter_durable.headless.job import open_job
from jupyter_durable.headless.runner import run_job

pytestmark = pytest.mark.slow

TOUR = Path(__file__).parents[2] / "notebooks" / "02_bring_your_own_agent.ipynb"
NEEDED = ("openai", "anthropic", "pydantic_ai", "langchain", "langchain_openai", "agents", "mcp")

CELLS = (
    """\
%load_ext jupyter_durable
import asyncio, os, socket
import jupyter_durable as durable
from dataclasses import dataclass""",
    """\
@dataclass
class Page:
    url: str
    words: int

def log(what):
    with open("effects.txt", "a") as file:
        file.write(what + "\\n")""",
    """\
@durable.tool
async def search(question: str) -> list[str]:
    "Search."
    log(f"search {question}")
    return [f"https://example.org/{question}/{n}" for n in range(2)]

async def fetch_page(url):
    log(f"fetch {url}")
    return Page(url, len(url))""",
    """\
STYLE = "short"
def load():
    socket.create_connection(("127.0.0.1", int(os.environ["SERVICE"]))).close()
    return {"rows": [1, 2, 3]}
rows = load()
log("a plot")
questions = []
questions.append("leases")
questions.append("fencing")""",
    """\
%%durable research --tool 'fetch_*'
pages = []
for question in questions:
    urls = await search(question)
    pages += await asyncio.gather(*(fetch_page(url) for url in urls))
summary = f"{STYLE}: {sum(page.words for page in pages)} in {len(rows['rows'])}"
summary""",
)


def _write(path: Path, *edits: tuple[str, str]) -> None:
    cells = "\0".join(CELLS)
    for old, new in edits:
        assert old in cells
        cells = cells.replace(old, new)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = new_notebook(
        cells=[new_code_cell(cell) for cell in cells.split("\0")], metadata={"kernelspec": kernel}
    )
    for number, cell in enumerate(made.cells):
        cell.id = f"c{number}"
    nbformat.write(made, path)


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    """Something on the network that the set-up needs; its port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def serve() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, service: int) -> Path:
    """A notebook that was run, and its run exported beside it; store and key are gone since."""
    folder = tmp_path_factory.mktemp("recorded")
    _write(folder / "research.ipynb")
    store = str(folder / "journal.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVICE", str(service))
        assert run_job(open_job(folder / "research.ipynb", store=store)).status == "completed"
    with open_store(store) as opened:
        made = opened.export("research", format="pytest", folder=folder / "tests")
    assert [path.name for path in made.write(f"{folder}/tests/")] == [
        "test_research.py",
        "research.cassette.json",
    ]
    assert made.left_out == ()
    for file in folder.glob("journal*"):
        file.unlink()
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy of that, somewhere else."""
    return Path(shutil.copytree(recorded, tmp_path / "elsewhere"))


def _pytest(folder: Path) -> tuple[bool, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PYTEST_"))}
    env["JUPYTER_DATA_DIR"] = str(folder / "nothing")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder / "tests"), "tests"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    return done.returncode == 0, done.stdout


def _effects(folder: Path) -> list[str]:
    return (folder / "effects.txt").read_text().splitlines()


def test_the_unchanged_agent_passes_without_network_store_or_key(folder: Path) -> None:
    """And without doing anything: not its tools, not the plot of the set-up."""
    before = _effects(folder)
    assert len(before) == 7
    passed, said = _pytest(folder)
    assert passed, said
    assert _effects(folder) == before


def test_changes_that_make_no_other_calls_pass(folder: Path) -> None:
    """Comments, names, layout, and cells that the agent does not need."""
    _write(
        folder / "research.ipynb",
        ("pages = []", "# what was found\npages = list()"),
        ("for question in questions", "for one in questions"),
        ("search(question)\n    pages", "search(one)\n    pages"),
        ('log("a plot")', 'raise RuntimeError("no plot")'),
    )
    passed, said = _pytest(folder)
    assert passed, said


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (
            'questions.append("fencing")',
            'questions.append("fencing tokens")',
            ["- 1.1    search('fencing')", "+ now    search('fencing tokens')", "differs: argument 1"],
        ),
        ("in questions:", "in questions[:1]:", ["calls are missing", "- 1.1    search('fencing')"]),
        (
            "in questions:",
            'in [*questions, "locks"]:',
            ["a call that was not recorded", "+ now    search('locks')"],
        ),
        (
            'STYLE = "short"',
            'STYLE = "long"',
            ["- recorded  'short: 114 in 3'", "+ now       'long: 114 in 3'"],
        ),
        ("summary = f", "oops()\nsummary = f", ["+ now       NameError: name 'oops' is not defined"]),
        ("await search(question)", "[]", ["calls are missing", "- 1.0    search('leases')"]),
    ],
)
def test_a_changed_agent_fails_with_a_readable_diff(
    folder: Path, old: str, new: str, lines: list[str]
) -> None:
    """Another call, a missing one, one more, another result, another end; in the cell or in what it needs."""
    before = _effects(folder)
    _write(folder / "research.ipynb", (old, new))
    passed, said = _pytest(folder)
    assert not passed
    for line in lines:
        assert line in said
    assert "jupyter durable export research" in said
    assert _effects(folder) == before


def test_tools_that_are_really_called_are_compared(folder: Path) -> None:
    """With `live=` a change inside of a tool is one, too."""
    test = folder / "tests" / "test_research.py"
    test.write_text(test.read_text().replace("notebook=NOTEBOOK", "notebook=NOTEBOOK, live='fetch_*'"))
    passed, said = _pytest(folder)
    assert passed, said
    assert len(_effects(folder)) == 7 + 4
    _write(folder / "research.ipynb", ("return Page(url, len(url))", "return Page(url, 0)"))
    passed, said = _pytest(folder)
    assert not passed
    assert "Page(url='https://example.org/leases/0', words=28)" in said
    assert "Page(url='https://example.org/leases/0', words=0)" in said


def test_what_cannot_be_made_offline_and_is_not_recorded_is_asked_for(folder: Path) -> None:
    """A set-up that needs the network, for an input that is no plain data."""
    _write(
        folder / "research.ipynb",
        ("rows = load()", "rows = load()\nother = load()"),
        ("in questions:", "in questions + other:"),
    )
    passed, said = _pytest(folder)
    assert not passed
    assert "the cassette has no value for other" in said
    assert "inputs={'other': ...}" in said


def test_the_cell_as_it_was_recorded_without_its_notebook(tmp_path: Path) -> None:
    """`%durable export` in a kernel; the cell and what it needs come from the cassette."""
    with Kernel(tmp_path) as kernel:
        kernel.run(
            "%load_ext jupyter_durable\nimport jupyter_durable as durable\nfactor, names = 3, {'a', 'b'}"
        )
        kernel.run("def helper(n):\n    return n * factor")
        reply = kernel.run(
            "%%durable sums\nparts = [durable.step('one', helper, n) for n in range(3)]\n"
            "await durable.sleep(0.01)\nprint(len(names))\nsum(parts)"
        )
        assert reply.result == "9"
        reply = kernel.run("%durable export sums --format pytest -o tests")
        assert reply.ok, reply
        assert "written to tests/test_sums.py" in said(reply)
        reply = kernel.run("%durable export sums -o report.html")
        assert "written to report.html" in said(reply)
        assert not kernel.run("%durable export sums --format nothing").ok
    work = next(path for path in (tmp_path, *tmp_path.iterdir()) if (path / "tests").is_dir())
    assert (work / "report.html").read_text().startswith("<!doctype html>")
    passed, printed = _pytest(work)
    assert passed, printed


@pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED), reason="needs the extra: pip install '.[agents]'"
)
def test_agents_of_every_framework_are_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tour of frameworks, each run as a test: no provider, no MCP server, no API key, no tool called."""
    path = Path(shutil.copy(TOUR, tmp_path))
    store = str(tmp_path / "journal.db")
    report = run_job(open_job(path, store=store))
    assert report.status == "completed", f"cell {report.cell}: {report.error}"
    names = ("openai", "anthropic", "pydantic_ai", "langgraph", "openai_agents", "mcp")
    with open_store(store) as opened:
        for name in names:
            opened.export(name, format="pytest", folder=tmp_path / "tests").write(f"{tmp_path}/tests/")
    before = (tmp_path / "agents-calls.jsonl").read_text()
    # OpenAI Agents asks its own provider for something else than others.
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    passed, printed = _pytest(tmp_path)
    assert passed, printed
    assert f"{len(names)} passed" in printed
    assert (tmp_path / "agents-calls.jsonl").read_text() == before
    text = path.read_text()
    path.write_text(text.replace("When is the finally clause", "When is the else clause"))
    passed, printed = _pytest(tmp_path)
    assert not passed
    assert f"{len(names)} failed" in printed
    assert "- 1.0    openai.chat: 'When is the finally clause" in printed
    assert "+ now    openai.chat: 'When is the else clause" in printed
