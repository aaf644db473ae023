"""What the transports share: which requests pass, bodies that can be read again, responses on the wire."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx2
import pytest
import requests
from http_server import Server
from runs import Bench

from jupyter_durable.capture import transports
from jupyter_durable.runtime.exchange import Head


def by_httpx2(url: str) -> Any:
    """One request."""
    return httpx2.get(url).json()["hit"]


def by_requests(url: str) -> Any:
    """One request."""
    return requests.get(url, timeout=10).json()["hit"]


async def by_aiohttp(url: str) -> Any:
    """One request."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return (await answer.json())["hit"]


@pytest.mark.parametrize("get", [by_httpx2, by_requests, by_aiohttp])
def test_an_ignored_host_is_asked_every_time(server: Server, get: Callable[[str], Any]) -> None:
    """`--ignore-host`, for every transport: no step, and no replay."""
    bench = Bench()

    async def agent() -> Any:
        found = get(server.url + "/json")
        return await found if asyncio.iscoroutine(found) else found

    assert bench.new(agent, ignore_hosts=("127.0.0.*",)) == 1
    assert bench.steps() == []
    assert bench.new(agent, ignore_hosts=("api.example",)) == 2
    assert [step.kind for step in bench.steps()] == ["http"]
    assert bench.execute_replay(agent) == 2
    assert server.total == 2


def test_a_file_that_is_sent_is_where_it_was() -> None:
    """Read to tell equal requests, and sent by its sender from where it stood."""
    file = io.BytesIO(b"head,body")
    file.seek(5)
    assert transports.read_again(file) == b"body"
    assert file.read() == b"body"
    assert transports.read_again(io.StringIO("é")) == "é".encode()
    assert transports.read_again(memoryview(b"ab")) == b"ab"
    closed = io.BytesIO(b"x")
    closed.close()
    assert transports.read_again(closed) == transports.UNREAD


def test_a_head_is_one_that_http_1_knows() -> None:
    """HTTP/2 has no text form; headers keep their order and spelling."""
    head = Head(200, "OK", ((b"X-B", b"1"), (b"x-a", b"2")), "HTTP/2")
    assert transports.on_wire(head) == b"HTTP/1.1 200 OK\r\nX-B: 1\r\nx-a: 2\r\n\r\n"
    assert not transports.is_chunked(head)
    assert transports.is_chunked(Head(200, "", ((b"Transfer-Encoding", b"gzip, Chunked"),)))


def test_equal_requests_are_told_by_what_every_transport_reads(server: Server) -> None:
    """One request through three libraries: the same step, so one answers for the others."""
    bench = Bench()
    ways: list[Any] = [by_aiohttp, by_requests, by_httpx2]

    async def agent() -> Any:
        found = ways.pop()(server.url + "/json?x=1")
        return await found if asyncio.iscoroutine(found) else found

    assert bench.new(agent) == 1
    assert bench.execute_replay(agent) == 1
    assert bench.execute_replay(agent) == 1
    assert server.total == 1
