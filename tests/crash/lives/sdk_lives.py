"""One life of an agent in a plain SDK (`sdks`), as a durable run; see `nursery`."""

# ruff: noqa: D103

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sdks

import jupyter_durable as durable
from jupyter_durable.runtime import kill_points
from jupyter_durable.testing.provider.addresses import Addresses


class At(Addresses):
    """Where the provider is."""

    def __init__(self, url: str) -> None:
        self.url = url


def agent(sdk: sdks.Sdk, at: At, token: Callable[[str], str]) -> Any:
    return sdk.agent(at)


async def agent_async(sdk: sdks.Sdk, at: At, token: Callable[[str], str]) -> Any:
    return await sdk.agent_async(at)


def parallel(sdk: sdks.Sdk, at: At, token: Callable[[str], str]) -> Any:
    with ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(sdk.agent, at) for _ in range(2)]]


async def parallel_async(sdk: sdks.Sdk, at: At, token: Callable[[str], str]) -> Any:
    return await asyncio.gather(*(sdk.agent_async(at) for _ in range(3)))


def streaming(sdk: sdks.Sdk, at: At, token: Callable[[str], str]) -> Any:
    found = ["".join(map(token, sdk.stream(at)))]
    found.append(sdk.agent(at))
    return [*found, "".join(map(token, sdk.stream(at)))]


async def streaming_async(sdk: sdks.Sdk, at: At, token: Callable[[str], str]) -> Any:
    found = ["".join([token(piece) async for piece in sdk.stream_async(at)])]
    found.append(await sdk.agent_async(at))
    return [*found, "".join([token(piece) async for piece in sdk.stream_async(at)])]


def noting(sdk: sdks.Sdk, at: At, token: Callable[[str], str]) -> Any:
    """Makes a step of the third token, and asks again if the connection breaks."""
    for attempt in range(3):
        pieces: list[str] = []
        try:
            for piece in sdk.stream(at):
                pieces.append(token(piece))
                if len(pieces) == 3 and not attempt:
                    durable.step("note", lambda: "noted")
        except sdk.errors() as error:
            broken = f"{type(error).__module__}.{type(error).__qualname__}"
            continue
        return ["".join(pieces), *([broken] if attempt else [])]
    return None


def structured(sdk: sdks.Sdk, at: At, token: Callable[[str], str]) -> Any:
    city = sdk.structured(at)
    assert type(city) is sdks.City
    return repr(city)


AGENTS: dict[str, Callable[..., Any]] = {
    found.__name__: found
    for found in (
        agent,
        agent_async,
        parallel,
        parallel_async,
        streaming,
        streaming_async,
        noting,
        structured,
    )
}


def prepare(name: str, url: str) -> Callable[..., Any] | None:
    """What lives, its provider being at `url`; None if the SDK is not installed."""
    sdk = next(sdk for sdk in sdks.SDKS if sdk.name == name)
    if not sdk.available():
        return None
    # What SDKs make of their types at the first call is made here, and once.
    sdk.agent(At(url))
    list(sdk.stream(At(url)))
    said: list[str] = []
    if hasattr(sdk, "went_on"):
        plain = sdk.went_on

        def went_on(history: list[Any], answer: Any) -> bool:
            kind = f"{type(answer).__module__}.{type(answer).__qualname__}"
            said.append(f"{kind} {_TIMES.sub('', repr(answer))}")
            return plain(history, answer)  # type: ignore[no-any-return]

        sdk.went_on = went_on  # type: ignore[attr-defined]

    def live(*, agent: str, url: str, store: str, run: str, crash: str, tokens: str) -> dict[str, Any]:
        points: list[str] = []
        os.environ["JUPYTER_DURABLE_CRASH_AT"] = crash
        kill_points.arm(points.append) if not crash else kill_points.arm_from_environment()
        if not agent:  # all that is ever imported
            for one in ("streaming", "streaming_async" if sdk.has_async else "parallel"):
                live(agent=one, url=url, store=store, run=one, crash="", tokens="")
            return {}
        answer = _lived(durable.run(run, store=store), AGENTS[agent], sdk, At(url), tokens)
        return {"answer": answer, "said": said, "points": points}

    return live


_TIMES = re.compile(r"created(_at)?=[\d.]+|'date': '[^']*'|HTTPHeaderDict\(.*?\)|headers=\{.*?\}", re.DOTALL)


def _lived(run: Any, agent: Callable[..., Any], sdk: sdks.Sdk, at: At, tokens: str) -> Any:
    file = os.open(tokens, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if tokens else -1

    def token(piece: str) -> str:
        if tokens:
            os.write(file, b".")
        return piece

    if asyncio.iscoroutinefunction(agent):

        async def main_async() -> Any:
            async with run:
                return await agent(sdk, at, token)

        return asyncio.run(main_async())

    @run  # type: ignore[untyped-decorator]
    def main() -> Any:
        return agent(sdk, at, token)

    return main()
