"""Exchanges over HTTP/2: many on one connection, answered and streamed, are steps like any other."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from runs import Bench

pytestmark = pytest.mark.slow


class Site:
    """Answers with the number of the request, /stream in pieces; `hits` are the protocol and path of each."""

    def __init__(self) -> None:
        self.hits: list[tuple[str, str]] = []
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._fd = listening.detach()  # the server closes it
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        config = Config()
        config.bind = [f"fd://{self._fd}"]
        config.loglevel = "ERROR"
        self._loop.run_until_complete(serve(self._app, config, shutdown_trigger=self._over.wait))  # type: ignore[arg-type]
        self._loop.close()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        self.hits.append((scope["http_version"], scope["path"]))
        said = str(len(self.hits)).encode()
        kind = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        for n in range(5 if scope["path"] == "/stream" else 0):
            piece = {"type": "http.response.body", "body": b"%d of " % n, "more_body": True}
            await send(piece)
            await asyncio.sleep(0.005)
        await send({"type": "http.response.body", "body": said})

    def close(self) -> None:
        """End it, and its thread."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)


@pytest.fixture
def site() -> Iterator[Site]:
    """One, listening."""
    site = Site()
    yield site
    site.close()


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def lib(request: pytest.FixtureRequest) -> Any:
    """Both libraries."""
    return request.param


def test_a_client_gets_what_it_got(bench: Bench, site: Site, lib: Any) -> None:
    """Whole and streamed; nothing is asked for again."""

    def agent() -> Any:
        with lib.Client(http1=False, http2=True) as client:
            answer = client.get(f"{site.url}/whole")
            with client.stream("GET", f"{site.url}/stream") as stream:
                return answer.http_version, answer.text, "".join(stream.iter_text())

    found = bench.new(agent)
    assert found == ("HTTP/2", "1", "0 of 1 of 2 of 3 of 4 of 2")
    assert bench.execute_replay(agent) == found
    assert site.hits == [("2", "/whole"), ("2", "/stream")]


def test_requests_share_a_connection(bench: Bench, site: Site, lib: Any) -> None:
    """Side by side in tasks, and each has its own answer again."""

    async def agent() -> Any:
        async with lib.AsyncClient(http1=False, http2=True) as client:

            async def streamed(n: int) -> str:
                async with client.stream("POST", f"{site.url}/stream", json={"n": n}) as stream:
                    return "".join([text async for text in stream.aiter_text()])

            async def whole(n: int) -> str:
                return str((await client.post(f"{site.url}/whole", json={"n": n})).text)

            return await asyncio.gather(*map(streamed, range(4)), *map(whole, range(4)))

    found = bench.new(agent)
    assert sorted(int(text.split()[-1]) for text in found) == list(range(1, 9))
    assert bench.execute_replay(agent) == found
    assert len(site.hits) == 8
