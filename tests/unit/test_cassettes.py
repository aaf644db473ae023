"""Cassettes: an unchanged agent passes, a changed one fails and is told how, and nothing is in them that must not be."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cassette_agents import SECRET, _recorded, _refused, agent, calls, fetch

import jupyter_durable as durable
from jupyter_durable.export import export
from jupyter_durable.testing import FakeProvider, offline, replay_cassette, reply


def test_an_unchanged_agent_passes_and_calls_nothing(tmp_path: Path) -> None:
    """Tasks, threads, dataclasses; all from the cassette."""
    cassette = _recorded(tmp_path, agent)
    replayed = replay_cassette(cassette, agent)
    assert replayed.calls == 4
    assert replayed.result == ["https://a.example", "https://b.example"]
    assert calls == []


@pytest.mark.slow
def test_another_argument(tmp_path: Path) -> None:
    """Recorded and current call stand side by side."""
    cassette = _recorded(tmp_path, agent)
    text = _refused(cassette, agent, by=3)
    assert "another call" in text or "not recorded" in text
    assert "shorten('https://a.example/x', 2)" in text
    assert "shorten('https://a.example/x', 3)" in text
    assert calls == []


def test_another_argument_in_one_scope_is_named(tmp_path: Path) -> None:
    """With the calls before it, and which argument differs."""

    def old(question: str = "What is a lease?") -> str:
        durable.step("plan", lambda: ["a", "b"])
        found = durable.step(
            "search", lambda **how: how, question=question, options={"limit": 5, "lang": "en"}
        )
        return str(found["question"])

    cassette = _recorded(tmp_path, old)
    text = _refused(cassette, old, question="lease")
    assert "    1.0    plan()" in text
    assert "  - 1.1    search(question='What is a lease?'" in text
    assert "  + now    search(question='lease'" in text
    assert "differs: question" in text
    assert "1 of 2 recorded calls were answered" in text


def test_a_long_argument_is_compared_line_by_line(tmp_path: Path) -> None:
    """As a diff, not as two walls of text."""

    def old(rule: str = "Be brief.") -> Any:
        messages = [{"role": "system", "content": f"You are a librarian.\n{rule}\nCite everything."}] * 2
        return durable.step("ask", lambda m: "yes", messages)

    cassette = _recorded(tmp_path, old)
    lines = _refused(cassette, old, rule="Be verbose.").splitlines()
    assert any(line.strip().startswith("-") and "Be brief." in line for line in lines)
    assert any(line.strip().startswith("+") and "Be verbose." in line for line in lines)
    assert sum("You are a librarian" in line for line in lines if line.strip().startswith(("- ", "+ "))) < 6


def test_a_missing_call(tmp_path: Path) -> None:
    """All that are missing are listed."""

    def old(count: int = 4) -> int:
        return sum(durable.step("one", lambda n: n, n) for n in range(count)) * 0

    cassette = _recorded(tmp_path, old)
    text = _refused(cassette, old, 2)
    assert "calls are missing" in text
    assert "  - 1.2    one(2)" in text
    assert "  - 1.3    one(3)" in text
    assert "    1.1    one(1)" in text


def test_one_call_more(tmp_path: Path) -> None:
    """It is shown, and not made."""

    def old(count: int = 2) -> int:
        return sum(durable.step("one", lambda n: n, n) for n in range(count)) * 0

    cassette = _recorded(tmp_path, old)
    text = _refused(cassette, old, 3)
    assert "a call that was not recorded" in text
    assert "  + now    one(2)" in text


def test_another_result(tmp_path: Path) -> None:
    """What the run returned is compared, too."""
    store = str(tmp_path / "journal.db")

    @durable.run("sum", store=store)
    def old(factor: int = 1) -> dict[str, int]:
        return {"sum": factor * int(durable.step("one", lambda: 21))}

    old()
    with durable.open_store(store) as opened:
        _, cassette = export(opened, "sum", "pytest").write(f"{tmp_path}/tests/")
    assert replay_cassette(cassette, old).result == {"sum": 21}
    text = _refused(cassette, old, factor=2)
    assert "- recorded  {'sum': 21}" in text
    assert "+ now       {'sum': 42}" in text
    assert replay_cassette(cassette, old, factor=2, compare_result=False).result == {"sum": 42}


SCRIPT = """
import sys
import jupyter_durable as durable

@durable.tool
def look(day: str, deep: list) -> str:
    with open("looked", "a") as file:
        file.write("x")
    return f"{day}: {deep}"

@durable.run("nightly", store="journal.db")
def nightly(day, *options, deep=None, key=None):
    return look(day, deep)

if __name__ == "__main__":
    nightly(*eval(sys.argv[1]), **eval(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "kwargs", "written"),
    [
        (
            "('monday', 1, (2.5, None))",
            "{'deep': [{'a': True}]}",
            ", 'monday', 1, (2.5, None), deep=[{'a': True}])",
        ),
        ("('monday',)", "{'key': 'sk-' + 'a1B2' * 12}", ", nightly)"),
        ("('monday', object())", "{}", ", nightly)"),
    ],
    ids=["plain", "a secret", "an object"],
)
def test_the_test_of_a_function_calls_it_as_it_was_called(
    tmp_path: Path, args: str, kwargs: str, written: str
) -> None:
    """With plain data as arguments there is nothing left to write; a secret, or what is no data, is left to its owner."""
    (tmp_path / "agents.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "agents.py", args, kwargs], cwd=tmp_path, check=True)
    with durable.open_store(str(tmp_path / "journal.db")) as opened:
        folder = tmp_path / "tests"
        test, _ = export(opened, "nightly", "pytest", folder=folder).write(folder)
    text = test.read_text()
    assert written in text
    assert "a1B2" not in text
    assert b"a1B2a1B2" not in (tmp_path / "journal.db").read_bytes()
    if "nightly)" in written:
        assert "# nightly(day, *options, deep=None, key=None): with the arguments" in text
        return
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert (tmp_path / "looked").read_text() == "x"


def test_a_tool_that_is_really_called(tmp_path: Path) -> None:
    """`live=` compares what a tool returns now with what it returned then."""
    cassette = _recorded(tmp_path, agent)
    replay_cassette(cassette, agent, live="shorten")
    assert sorted(calls) == ["https://a.example/x", "https://b.example/x"]

    @durable.tool(name="shorten")
    def other(text: str, by: int = 2) -> str:
        return text[by:]

    async def edited() -> list[str]:
        pages = await asyncio.gather(*(fetch(f"https://{site}.example/x") for site in "ab"))
        return [other(page.url) for page in pages]

    cassette = _recorded(tmp_path, edited)

    def again(text: str, by: int = 2) -> str:
        return text[by:].upper()

    shorter = durable.tool(name="shorten")(again)

    async def changed() -> list[str]:
        pages = await asyncio.gather(*(fetch(f"https://{site}.example/x") for site in "ab"))
        return [shorter(page.url) for page in pages]

    replay_cassette(cassette, changed)  # its calls are the same
    text = _refused(cassette, changed, live=["short*"])
    assert "another result" in text
    assert "- recorded  'tps://a.example/x'" in text
    assert "+ now       'TPS://A.EXAMPLE/X'" in text


def test_errors(tmp_path: Path) -> None:
    """A run that failed fails in the same way; any other end is told."""

    def fail(why: str) -> None:
        raise ValueError(why)

    def old(why: str = "no room") -> None:
        with pytest.raises(ValueError, match="first"):
            durable.step("try", fail, "first")
        durable.step("try", fail, why)

    cassette = _recorded(tmp_path, old, fails=True)
    replay_cassette(cassette, old)

    def patient() -> str:
        for why in ("first", "no room"):
            with pytest.raises(ValueError):
                durable.step("try", fail, why)
        return "done"

    text = _refused(cassette, patient)
    assert "- recorded  ValueError: no room" in text

    def hasty() -> None:
        raise KeyError("sites")

    text = _refused(_recorded(tmp_path, lambda: durable.step("one", lambda: 1)), hasty)
    assert "KeyError" in text


def test_there_is_no_network(tmp_path: Path) -> None:
    """Inside of a replay; afterwards there is one again."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]

        def old(reach: bool = False) -> None:
            durable.step("one", lambda: 1)
            if reach:
                socket.create_connection(("127.0.0.1", port)).close()

        cassette = _recorded(tmp_path, old)
        replay_cassette(cassette, old)
        text = _refused(cassette, old, True)
        assert f"127.0.0.1:{port}" in text
        socket.create_connection(("127.0.0.1", port)).close()  # afterwards there is one again
    with offline() as wanted, pytest.raises(OSError):
        urllib.request.urlopen("http://example.invalid/")
    assert [what for what, _ in wanted] == ["example.invalid:80"]


@pytest.mark.slow
def test_model_calls_are_answered_without_a_server(tmp_path: Path) -> None:
    """A real SDK, streamed; the difference is that of the messages."""
    openai = pytest.importorskip("openai")
    with FakeProvider([reply("A lock."), reply("That expires.")]) as provider:

        def old(question: str = "What is a lease?", model: str = "gpt-fake") -> list[str]:
            said = []
            with openai.OpenAI(base_url=provider.openai_base, api_key=SECRET, max_retries=0) as client:
                messages: list[Any] = [{"role": "system", "content": "Be brief."}]
                for text in (question, "And then?"):
                    messages.append({"role": "user", "content": text})
                    stream = client.chat.completions.create(model=model, messages=messages, stream=True)
                    words = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
                    messages.append({"role": "assistant", "content": words})
                    said.append(words)
            return said

        cassette = _recorded(tmp_path, old)
    assert provider.hits == 2
    assert replay_cassette(cassette, old).result == ["A lock.", "That expires."]
    replay_cassette(cassette, old, model="gpt-other")  # who answers is no part of what is asked
    text = _refused(cassette, old, question="What is a fencing token?")
    assert "What is a lease?" in text
    assert "What is a fencing token?" in text
    assert any(line.lstrip().startswith("-") and "What is a lease?" in line for line in text.splitlines())
    assert SECRET not in cassette.read_text()
