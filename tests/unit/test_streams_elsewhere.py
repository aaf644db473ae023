"""Responses read somewhere else than they were asked for: in another cell, in a tool, in no run at all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx2
import pytest
from http_server import Server
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.runtime.activation import Activation
from jupyter_durable.runtime.run import Options
from jupyter_durable.testing import Crash, crash_at

ALL = [f"data: {n}/1\n\n".encode() for n in range(5)] + [b"data: [DONE]\n\n"]


class Notebook:
    """Cells of one process: runs of one store, in one event loop, which share `held`."""

    def __init__(self, server: Server, *, blocking: bool, model: bool = False) -> None:
        self.bench = Bench()
        self.server = server
        self.blocking = blocking
        self.model = model
        self.held: list[Any] = []

    async def cell(
        self, name: str, fn: Any, *, replay: bool = False, resume: bool = False, **options: Any
    ) -> Any:
        """Execute `fn` as a run of that name, or take the one there is up again, or replay it: nothing may be sent."""
        session, hits = self.bench.session, self.server.total
        if replay or resume:
            (record,) = [record for record in self.bench.store.runs() if record.name == name]
            run = session.replay(record) if replay else session.resume(record)
        else:
            run = session.new(name, options=Options(**options))
        activation = Activation(run)
        activation.enter()
        error: BaseException | None = None
        try:
            return await fn()
        except BaseException as raised:
            error = raised
            raise
        finally:
            activation.leave()
            if run.lost is None:
                session.close_run(run, error)
            assert not replay or self.server.total == hits

    def steps(self, name: str) -> list[tuple[str, str]]:
        """Kind and status of a run's steps."""
        (record,) = [record for record in self.bench.store.runs() if record.name == name]
        return [(step.kind, step.status) for step in self.bench.facade.steps(record.id)]

    async def ask(self) -> None:
        """Send a request whose response is yet to be read."""
        client: Any = httpx2.Client() if self.blocking else httpx2.AsyncClient()
        if self.model:
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
            request = client.build_request(
                "POST", f"{self.server.url}/stream/chat/completions?gap=0.01", json=body
            )
        else:
            request = client.build_request("GET", f"{self.server.url}/stream?gap=0.01")
        answer = client.send(request, stream=True)
        answer = answer if self.blocking else await answer
        self.held[:] = [client, answer, answer.iter_raw() if self.blocking else answer.aiter_raw()]

    async def read(self, count: int = 99) -> list[bytes]:
        """So many chunks, or all that are left."""
        found: list[bytes] = []
        with contextlib.suppress(StopIteration, StopAsyncIteration):
            while len(found) < count:
                found.append(next(self.held[2]) if self.blocking else await anext(self.held[2]))
        return found

    async def first(self) -> Any:
        """The cell that asks."""
        await self.ask()
        return await self.read(2)

    async def second(self) -> Any:
        """The cell that reads on."""
        return [await self.read(), httpx2.get(self.server.url + "/json").json()["hit"]]


@pytest.fixture(params=["blocking", "async", "model"])
def notebook(server: Server, request: pytest.FixtureRequest) -> Notebook:
    """Each kind of response."""
    return Notebook(server, blocking=request.param == "blocking", model=request.param == "model")


@pytest.mark.slow
def test_a_response_read_on_in_another_run(notebook: Notebook) -> None:
    """Each run records what is read in it: the rest is a step of the second, which says so."""
    bench, kind = notebook.bench, "model" if notebook.model else "http"

    async def main() -> None:
        assert await notebook.cell("first", notebook.first) == ALL[:2]
        assert await notebook.cell("second", notebook.second) == [ALL[2:], 1]
        for _ in range(2):  # in a fresh kernel: both again
            assert await notebook.cell("first", notebook.first, replay=True) == ALL[:2]
            assert await notebook.cell("second", notebook.second, replay=True) == [ALL[2:], 1]

    asyncio.run(main())
    assert notebook.steps("first") == [(kind, "completed")]
    assert notebook.steps("second") == [(kind, "completed"), ("http", "completed")]
    (said,) = bench.notices
    assert said.startswith("run 'first' asked for the response of ")
    assert "the rest is a step of this run" in said


def test_the_rest_in_a_third_run(notebook: Notebook) -> None:
    """And so on; the beginning may have been read by anybody."""

    async def main() -> None:
        async def more() -> Any:
            return await notebook.read(2)

        assert await notebook.cell("first", notebook.first) == ALL[:2]
        assert await notebook.cell("second", more) == ALL[2:4]
        assert await notebook.cell("third", notebook.read) == ALL[4:]
        assert await notebook.cell("first", notebook.first, replay=True) == ALL[:2]
        assert await notebook.cell("second", more, replay=True) == ALL[2:4]
        assert await notebook.cell("third", notebook.read, replay=True) == ALL[4:]

    asyncio.run(main())


@pytest.mark.parametrize("crash", [False, True])
def test_the_rest_when_its_connection_is_gone(notebook: Notebook, crash: bool) -> None:
    """A second cell that has not read it (or was cut off) cannot, in a fresh kernel: the client's own error."""

    async def main() -> None:
        await notebook.cell("first", notebook.first)
        if crash:
            with crash_at("after-chunk", 3), contextlib.suppress(Crash):
                await notebook.cell("second", notebook.second)
        await notebook.cell("first", notebook.first, replay=True)
        name = "second" if not crash else "another"
        with pytest.raises(
            httpx2.RemoteProtocolError, match="run 'first' has recorded the 2 chunks of this response"
        ):
            await notebook.cell(name, notebook.second)
        with pytest.raises(httpx2.RemoteProtocolError, match="run 'first' has recorded the 2 chunks"):
            await notebook.cell("first", notebook.first, replay=True)
            await notebook.read()  # in a cell that is not durable

    asyncio.run(main())


@pytest.mark.parametrize("acts", [False, True])
def test_the_rest_when_its_cell_is_run_again(notebook: Notebook, acts: bool) -> None:
    """In the same kernel: what was read before the error is not passed over in silence."""
    fails = True

    async def cell() -> Any:
        found = await notebook.read(1)
        if acts:
            found.append(durable.step("note", lambda: b"noted"))
        if fails:
            raise ValueError("stop")
        return found + await notebook.read()

    async def main() -> None:
        nonlocal fails
        await notebook.cell("first", notebook.first)
        with pytest.raises(ValueError, match="stop"):
            await notebook.cell("second", cell)
        fails = False
        with pytest.raises(httpx2.RemoteProtocolError, match=r"does not come again|cut off after 1 chunk"):
            await notebook.cell("second", cell, resume=True)

    asyncio.run(main())


def test_a_response_read_on_in_no_run(notebook: Notebook) -> None:
    """It is recorded nowhere, and that is said, once, where it happens."""

    async def main() -> None:
        await notebook.cell("first", notebook.first)
        with pytest.warns(UserWarning, match="a replay gives the 2 chunks that it has read itself") as said:
            rest = [await notebook.read(1), await notebook.read()]
        assert rest == [ALL[2:3], ALL[3:]]
        assert len(said) == 1
        assert "run 'first' has ended" in str(said[0].message)
        assert await notebook.cell("first", notebook.first, replay=True) == ALL[:2]

    asyncio.run(main())


def test_a_response_read_on_where_nothing_is_captured(notebook: Notebook) -> None:
    """`--capture tools`: that cell is told."""

    async def main() -> None:
        await notebook.cell("first", notebook.first)
        assert (await notebook.cell("second", notebook.second, capture=frozenset({"tools"})))[0] == ALL[2:]

    asyncio.run(main())
    assert notebook.steps("second") == []
    assert any("is read on where nothing is recorded" in notice for notice in notebook.bench.notices)


@pytest.mark.slow
def test_a_whole_answer_that_is_read_again_is_over(notebook: Notebook) -> None:
    """Who asks it for more, anywhere, is told that there is none; no step, no word."""

    async def main() -> None:
        async def first() -> Any:
            await notebook.ask()
            return await notebook.read()

        for replay in (False, True):
            assert await notebook.cell("first", first, replay=replay) == ALL
            assert await notebook.read() == []
            assert await notebook.cell("second", notebook.second, replay=replay) == [[], 1]

    asyncio.run(main())
    assert notebook.steps("second") == [("http", "completed")]
    assert notebook.bench.notices == []


def test_a_tool_that_is_handed_a_response(notebook: Notebook) -> None:
    """What it reads is its own: where it is not executed again, the cell reads on behind it, as it did."""

    @durable.tool
    async def skim() -> int:
        return len(await notebook.read(2))

    async def cell() -> Any:
        await notebook.ask()
        return [await notebook.read(1), await skim(), await notebook.read()]

    async def main() -> None:
        value = await notebook.cell("first", cell)
        assert value == [ALL[:1], 2, ALL[3:]]
        assert await notebook.cell("first", cell, replay=True) == value

    asyncio.run(main())
    kinds = ["model", "tool", "model"] if notebook.model else ["http", "tool"]
    assert [kind for kind, _ in notebook.steps("first")] == kinds
    assert notebook.bench.notices == []


def test_a_child_run_that_is_handed_a_response(notebook: Notebook) -> None:
    """The same: it is one step of the run that calls it."""

    @durable.run("child")
    async def child() -> list[bytes]:
        return await notebook.read(2)

    async def cell() -> Any:
        await notebook.ask()
        return [await notebook.read(1), await child(), await notebook.read()]

    async def main() -> None:
        value = await notebook.cell("first", cell)
        assert value == [ALL[:1], ALL[1:3], ALL[3:]]
        assert await notebook.cell("first", cell, replay=True) == value

    asyncio.run(main())
