"""The streaming helpers of SDKs and frameworks, left in every way: read whole, broken out of, raised out of, stopped, side by side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from runs import Bench

from jupyter_durable.testing import Crash, FakeProvider, crash_at
from jupyter_durable.testing.provider import reply, slow

httpx2 = pytest.importorskip("httpx2")
openai = pytest.importorskip("openai")

TEXT = "A lease is a lock that expires by itself after a while and then is free."
Opened = contextlib.AbstractAsyncContextManager[AsyncIterator[str]]


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """Says one thing, word by word."""
    with FakeProvider(lambda request: [slow(delay=0.003), reply(TEXT)]) as running:
        yield running


# -- each helper: a context that gives the pieces of the answer's text ---------------------------------------


def client(provider: FakeProvider) -> Any:
    """OpenAI's, as anybody would make it."""
    return openai.AsyncOpenAI(base_url=provider.openai_base, api_key="fake", max_retries=0)


@contextlib.asynccontextmanager
async def chat(provider: FakeProvider, said: str) -> AsyncIterator[AsyncIterator[str]]:
    """`client.chat.completions.stream`."""
    messages: Any = [{"role": "user", "content": said}]
    async with client(provider).chat.completions.stream(model="fake-model", messages=messages) as stream:
        yield (event.delta async for event in stream if event.type == "content.delta")


@contextlib.asynccontextmanager
async def responses(provider: FakeProvider, said: str) -> AsyncIterator[AsyncIterator[str]]:
    """`client.responses.stream`."""
    async with client(provider).responses.stream(model="fake-model", input=said) as stream:
        yield (event.delta async for event in stream if event.type == "response.output_text.delta")


@contextlib.asynccontextmanager
async def anthropic(provider: FakeProvider, said: str) -> AsyncIterator[AsyncIterator[str]]:
    """`client.messages.stream`."""
    sdk = pytest.importorskip("anthropic")
    made = sdk.AsyncAnthropic(base_url=provider.anthropic_base, api_key="fake", max_retries=0)
    messages = [{"role": "user", "content": said}]
    async with made.messages.stream(model="fake-model", max_tokens=99, messages=messages) as stream:
        yield stream.text_stream


@contextlib.asynccontextmanager
async def gemini(provider: FakeProvider, said: str) -> AsyncIterator[AsyncIterator[str]]:
    """`generate_content_stream`, over aiohttp."""
    genai = pytest.importorskip("google.genai")
    made = genai.Client(api_key="fake", http_options={"base_url": provider.gemini_base})
    stream = await made.aio.models.generate_content_stream(model="fake-model", contents=said)
    yield (part.text async for part in stream if part.text)


@contextlib.asynccontextmanager
async def pydantic_ai(provider: FakeProvider, said: str) -> AsyncIterator[AsyncIterator[str]]:
    """`agent.run_stream`."""
    framework = pytest.importorskip("pydantic_ai")
    models = pytest.importorskip("pydantic_ai.models.openai")
    providers = pytest.importorskip("pydantic_ai.providers.openai")
    model = models.OpenAIChatModel(
        "fake-model", provider=providers.OpenAIProvider(openai_client=client(provider))
    )
    async with framework.Agent(model).run_stream(said) as result:
        yield result.stream_text(delta=True, debounce_by=None)


def langchain_model(provider: FakeProvider) -> Any:
    """With a client of its own: LangChain would keep one for another event loop."""
    langchain = pytest.importorskip("langchain_openai")
    return langchain.ChatOpenAI(
        model="fake-model",
        base_url=provider.openai_base,
        api_key="fake",
        max_retries=0,
        streaming=True,
        http_async_client=httpx2.AsyncClient(),
    )


@contextlib.asynccontextmanager
async def langchain(provider: FakeProvider, said: str) -> AsyncIterator[AsyncIterator[str]]:
    """`astream_events`."""
    events = langchain_model(provider).astream_events([("user", said)], version="v2")
    yield (
        event["data"]["chunk"].content
        async for event in events
        if event["event"] == "on_chat_model_stream" and event["data"]["chunk"].content
    )


@contextlib.asynccontextmanager
async def langgraph(provider: FakeProvider, said: str) -> AsyncIterator[AsyncIterator[str]]:
    """`graph.astream(stream_mode="messages")`."""
    graphs = pytest.importorskip("langgraph.graph")
    model = langchain_model(provider)

    async def ask(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    made = graphs.StateGraph(graphs.MessagesState)
    made.add_node("ask", ask)
    made.add_edge(graphs.START, "ask")
    stream = made.compile().astream({"messages": [("user", said)]}, stream_mode="messages")
    yield (chunk.content async for chunk, _ in stream if chunk.content)


@contextlib.asynccontextmanager
async def openai_agents(provider: FakeProvider, said: str) -> AsyncIterator[AsyncIterator[str]]:
    """`Runner.run_streamed`."""
    agents = pytest.importorskip("agents")
    agents.set_tracing_disabled(disabled=True)
    agent = agents.Agent(name="a", model=agents.OpenAIResponsesModel("fake-model", client(provider)))
    events = agents.Runner.run_streamed(agent, said).stream_events()
    yield (
        event.data.delta
        async for event in events
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    )


HELPERS = [chat, responses, anthropic, gemini, pydantic_ai, langchain, langgraph, openai_agents]


# -- each way to read ------------------------------------------------------------------------------------


async def whole(opened: Callable[[str], Opened]) -> str:
    """To its end."""
    async with opened("q") as pieces:
        return "".join([piece async for piece in pieces])


async def broken_out_of(opened: Callable[[str], Opened]) -> str:
    """Enough is enough."""
    found = ""
    async with opened("q") as pieces:
        async for piece in pieces:
            found += piece
            if len(found) > 15:
                break
    return found


async def raised_out_of(opened: Callable[[str], Opened]) -> str:
    """The context is left by an error, which is handled."""
    found = ""
    try:
        async with opened("q") as pieces:
            async for piece in pieces:
                found += piece
                if len(found) > 15:
                    raise ValueError(found)
    except ValueError as error:
        return f"handled {error}"
    return found


async def side_by_side(opened: Callable[[str], Opened]) -> str:
    """Two at once: who said what when."""
    merged: list[str] = []

    async def read(n: int) -> None:
        async with opened(f"q{n}") as pieces:
            async for piece in pieces:
                merged.append(f"{n}{piece}")  # noqa: PERF401 - two of them do it in turn

    await asyncio.gather(read(1), read(2))
    return "".join(merged)


@pytest.mark.slow
@pytest.mark.parametrize("read", [whole, broken_out_of, raised_out_of, side_by_side])
@pytest.mark.parametrize("helper", HELPERS)
def test_a_helper_however_it_is_left(provider: FakeProvider, helper: Any, read: Any) -> None:
    """Its replay asks nothing and gives the same, which the next call depends on; so does what a crash has cut off."""

    async def agent() -> Any:
        found = await read(lambda said: helper(provider, said))
        messages: Any = [{"role": "user", "content": f"after {found}"}]
        answer = await client(provider).chat.completions.create(model="fake-model", messages=messages)
        return found, answer.choices[0].message.content

    bench = Bench()
    value = bench.new(agent)
    asked = provider.attempts
    assert value[1] == TEXT
    assert bench.execute_replay(agent) == value
    assert bench.execute_replay(agent) == value
    assert provider.attempts == asked
    assert bench.notices == []
    for point, nth in (("after-start", 1), ("after-chunk", 4), ("after-outcome", 1), ("after-start", 2)):
        bench = Bench()
        with crash_at(point, nth), contextlib.suppress(Crash):
            bench.new(agent)
        if bench.record.status == "completed":
            continue
        value = bench.resume(agent)
        asked = provider.attempts
        assert bench.execute_replay(agent) == value, (point, nth)
        assert provider.attempts == asked
