"""Real SDKs, unmodified, against a scripted provider: crashed wherever a run can be, with the same answer at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from runs import Bench

from jupyter_durable.testing import KILL_POINTS, Crash, FakeProvider, crash_at
from jupyter_durable.testing.provider import call, fault, reply


def script(wait: float) -> list[Any]:
    """Three answers, with three refusals in between; `wait`: seconds that each asks an SDK to back off."""
    return [
        reply("Let me look.", tool_calls=[call("search", q="leases")]),
        fault(429, retry_after=wait),
        reply("And once more.", tool_calls=[call("search", q="fencing tokens")]),
        fault(500, times=2, retry_after=wait),
        reply("A lease is a lock that expires."),
    ]


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "search",
            "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
        },
    }
]
CLAUDE_TOOLS = [
    {"name": "search", "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}}}
]


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A provider that refuses some calls first."""
    with FakeProvider(script(0.01)) as running:
        yield running


def search(q: str) -> str:
    """A plain function, no tool of ours."""
    return f"found {q}"


# -- the agents: loops as people write them ----------------------------------------------------------------


def openai_sync(provider: FakeProvider, client: Any) -> Any:
    """Chat completions, not streamed."""
    messages: list[Any] = [{"role": "user", "content": "What is a lease?"}]
    while True:
        answer = client.chat.completions.create(model="fake-model", messages=messages, tools=TOOLS)
        message = answer.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            return message.content, len(messages), type(answer).__name__
        for asked in message.tool_calls:
            result = search(**json.loads(asked.function.arguments))
            messages.append({"role": "tool", "tool_call_id": asked.id, "content": result})


async def openai_stream(provider: FakeProvider, client: Any) -> Any:
    """Chat completions, streamed, with an async client."""
    messages: list[Any] = [{"role": "user", "content": "What is a lease?"}]
    while True:
        text, calls = "", {}
        stream = await client.chat.completions.create(
            model="fake-model", messages=messages, tools=TOOLS, stream=True
        )
        async for chunk in stream:
            if not chunk.choices:
                continue
            delta = chunk.choices[0].delta
            text += delta.content or ""
            for part in delta.tool_calls or ():
                found = calls.setdefault(
                    part.index, {"id": part.id, "name": part.function.name, "arguments": ""}
                )
                found["arguments"] += part.function.arguments or ""
        if not calls:
            return text, len(messages)
        asked = [
            {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
            for c in calls.values()
        ]
        messages.append({"role": "assistant", "content": text, "tool_calls": asked})
        messages += [
            {"role": "tool", "tool_call_id": c["id"], "content": search(**json.loads(c["arguments"]))}
            for c in calls.values()
        ]


def anthropic_sync(provider: FakeProvider, client: Any) -> Any:
    """Messages, not streamed."""
    messages: list[Any] = [{"role": "user", "content": "What is a lease?"}]
    while True:
        answer = client.messages.create(
            model="fake-model", max_tokens=100, messages=messages, tools=CLAUDE_TOOLS
        )
        messages.append(
            {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in answer.content]}
        )
        results = [
            {"type": "tool_result", "tool_use_id": b.id, "content": search(**b.input)}
            for b in answer.content
            if b.type == "tool_use"
        ]
        if not results:
            return answer.content[0].text, len(messages)
        messages.append({"role": "user", "content": results})


async def anthropic_stream(provider: FakeProvider, client: Any) -> Any:
    """`messages.stream` with an async client."""
    messages: list[Any] = [{"role": "user", "content": "What is a lease?"}]
    events: Counter[str] = Counter()
    while True:
        async with client.messages.stream(
            model="fake-model", max_tokens=100, messages=messages, tools=CLAUDE_TOOLS
        ) as stream:
            async for event in stream:
                events[event.type] += 1
            answer = await stream.get_final_message()
        messages.append(
            {"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in answer.content]}
        )
        results = [
            {"type": "tool_result", "tool_use_id": b.id, "content": search(**b.input)}
            for b in answer.content
            if b.type == "tool_use"
        ]
        if not results:
            return answer.content[0].text, len(messages), dict(events)
        messages.append({"role": "user", "content": results})


AGENTS: dict[str, tuple[Callable[..., Any], Callable[[FakeProvider], Any]]] = {
    "openai": (openai_sync, lambda p: openai.OpenAI(base_url=p.openai_base, api_key="planted-key")),
    "openai stream": (
        openai_stream,
        lambda p: openai.AsyncOpenAI(base_url=p.openai_base, api_key="planted-key"),
    ),
    "anthropic": (
        anthropic_sync,
        lambda p: anthropic.Anthropic(base_url=p.anthropic_base, api_key="planted-key", max_retries=3),
    ),
    "anthropic stream": (
        anthropic_stream,
        lambda p: anthropic.AsyncAnthropic(base_url=p.anthropic_base, api_key="planted-key", max_retries=3),
    ),
}


def made(name: str, provider: FakeProvider) -> Callable[[], Any]:
    """The agent of that name. Its client is made before the run, as in a cell above."""
    agent, client = AGENTS[name]

    if asyncio.iscoroutinefunction(agent):

        async def run() -> Any:
            async with client(provider) as made_here:
                return await agent(provider, made_here)

        return run
    before = client(provider)
    return lambda: agent(provider, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_is_replayed_without_a_request_and_without_waiting(name: str) -> None:
    """Three calls, three refusals in between; the SDK's back-off, which the live run waited for, is not waited for again."""
    bench, wait = Bench(), 0.4
    with FakeProvider(script(wait)) as provider:
        agent = made(name, provider)
        began = time.monotonic()
        value = bench.new(agent)
        lived = time.monotonic() - began
        assert lived > 3 * wait
        assert value[0] == "A lease is a lock that expires."
        assert (provider.hits, provider.attempts) == (3, 6)
        steps = bench.steps()
        assert [(step.kind, step.status, step.attempts) for step in steps] == [
            ("model", "completed", 1),
            ("model", "completed", 2),
            ("model", "completed", 3),
        ]
        replays = []
        for _ in range(3):
            began = time.monotonic()
            assert bench.execute_replay(agent) == value
            replays.append(time.monotonic() - began)
        assert min(replays) < lived - 2 * wait
        assert provider.attempts == 6
    assert b"planted-key" not in repr(vars(bench.store)).encode()


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_crashed_at_every_kill_point(provider: FakeProvider, name: str) -> None:
    """Each time the answer is the undisturbed one, and at most the call that was under way is made again."""
    agent = made(name, provider)
    bench = Bench()
    with crash_at("before-close", 99) as passed:
        expected = bench.new(agent)
    counts = Counter(passed)
    for point in KILL_POINTS:
        for nth in _some(counts[point]):
            provider.reset()
            bench = Bench()
            with crash_at(point, nth), contextlib.suppress(Crash):
                bench.new(agent)
            records = bench.store.runs()
            if not records:
                continue
            value = bench.execute_replay(agent) if records[0].status == "completed" else bench.resume(agent)
            assert value == expected, (point, nth)
            answered = Counter(
                json.dumps(r.body, sort_keys=True) for r in provider.requests if r.outcome == "answered"
            )
            assert len(answered) == 3
            assert sum(answered.values()) <= 4, (point, nth)
            assert bench.execute_replay(agent) == expected


def _some(count: int) -> list[int]:
    """Every occurrence of a kill point, or of very many (chunks) some."""
    every = range(1, count + 1)
    return [*every] if count <= 12 else [*every[:4], *every[4:-4:7], *every[-4:]]
