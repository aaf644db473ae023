"""Agents of frameworks and SDKs that need nothing of ours but what is on the wire; each is skipped where it is not installed.

`.ci/frameworks` runs them: together they are too much to be installed for every test.
"""

# ruff: noqa: D103 - an agent is named after its framework

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from runs import Bench

from jupyter_durable.testing import FakeProvider, call, reply
from jupyter_durable.testing.provider import Request

pytestmark = pytest.mark.slow

ASKED = "What is a lease?"
ANSWER = "found: page about leases / page about tokens"
SAID = [{"role": "user", "content": ASKED}]


def script(request: Request) -> Any:
    """Two tools at once, then what they found."""
    if request.results:
        return reply(f"found: {' / '.join(sorted(map(_page, request.results.values())))}")
    if request.tools:
        return reply("Let me look.", tool_calls=[call("search", q="leases"), call("search", q="tokens")])
    return reply(json={"name": "Bern", "people": 134_000}) if request.schema else reply("one two three")


def _page(result: Any) -> str:
    text = str(result)
    return text[text.index("page") :].rstrip('"}')


def search(q: str) -> str:
    """Look something up."""
    return f"page about {q}"


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    """It counts."""
    with FakeProvider(script) as provider:
        yield provider


def litellm(at: FakeProvider) -> Any:
    import litellm as lib

    how = {"model": "openai/m", "messages": SAID, "api_base": at.openai_base, "api_key": "k"}
    whole = lib.completion(**how).choices[0].message.content
    pieces = [chunk.choices[0].delta.content or "" for chunk in lib.completion(**how, stream=True)]
    claude = how | {"model": "anthropic/claude-3-5-haiku-20241022", "api_base": at.anthropic_base}
    return whole, "".join(pieces), lib.completion(**claude).choices[0].message.content


async def litellm_async(at: FakeProvider) -> Any:
    import litellm as lib

    async def one(n: int) -> str:
        said = [{"role": "user", "content": f"{n}"}]
        found = await lib.acompletion(
            model="openai/m", messages=said, api_base=at.openai_base, api_key="k", stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in found])

    return await asyncio.gather(*map(one, range(3)))


def instructor(at: FakeProvider) -> Any:
    import instructor as lib
    import openai
    import pydantic

    class City(pydantic.BaseModel):
        name: str
        people: int

    client = lib.from_openai(openai.OpenAI(base_url=at.openai_base, api_key="k"), mode=lib.Mode.JSON_SCHEMA)
    return client.chat.completions.create(model="m", messages=SAID, response_model=City).model_dump()


def groq(at: FakeProvider) -> Any:
    import groq as lib

    client = lib.Groq(api_key="k", base_url=at.url)
    return client.chat.completions.create(model="m", messages=SAID).choices[0].message.content


def dspy(at: FakeProvider) -> Any:
    import dspy as lib

    return lib.LM("openai/m", api_base=at.openai_base, api_key="k", cache=False)(ASKED)


async def llama_index(at: FakeProvider) -> Any:
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.llms.openai_like import OpenAILike

    model = OpenAILike(
        model="m",
        api_base=at.openai_base,
        api_key="k",
        is_chat_model=True,
        is_function_calling_model=True,
    )
    return str(await FunctionAgent(tools=[search], llm=model, system_prompt="s").run(ASKED))


async def agno(at: FakeProvider) -> Any:
    from agno.agent import Agent
    from agno.models.openai import OpenAIChat

    model = OpenAIChat(id="m", base_url=at.openai_base, api_key="k")
    return (await Agent(model=model, tools=[search], telemetry=False).arun(ASKED)).content


async def autogen_agentchat(at: FakeProvider) -> Any:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    can = {"vision": False, "function_calling": True, "json_output": False, "structured_output": False}
    client = OpenAIChatCompletionClient(
        model="m", base_url=at.openai_base, api_key="k", model_info=can | {"family": "unknown"}
    )
    found = await AssistantAgent("a", model_client=client, tools=[search], reflect_on_tool_use=True).run(
        task=ASKED
    )
    await client.close()
    return found.messages[-1].content


def strands(at: FakeProvider) -> Any:
    from strands import Agent, tool
    from strands.models.openai import OpenAIModel

    model = OpenAIModel(client_args={"api_key": "k", "base_url": at.openai_base}, model_id="m")
    return str(Agent(model=model, tools=[tool(search)], callback_handler=None)(ASKED))


def haystack(at: FakeProvider) -> Any:
    from haystack.components.agents import Agent
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage
    from haystack.tools import create_tool_from_function
    from haystack.utils import Secret

    model = OpenAIChatGenerator(model="m", api_base_url=at.openai_base, api_key=Secret.from_token("k"))
    agent = Agent(chat_generator=model, tools=[create_tool_from_function(search)])
    return agent.run(messages=[ChatMessage.from_user(ASKED)])["messages"][-1].text


async def google_adk(at: FakeProvider) -> Any:
    from google.adk.agents import LlmAgent
    from google.adk.runners import InMemoryRunner
    from google.genai import types

    runner = InMemoryRunner(agent=LlmAgent(name="a", model="gemini-2.0-flash", tools=[search]), app_name="x")
    session = await runner.session_service.create_session(app_name="x", user_id="u")
    asked = types.Content(role="user", parts=[types.Part(text=ASKED)])
    events = [
        event async for event in runner.run_async(user_id="u", session_id=session.id, new_message=asked)
    ]
    return events[-1].content.parts[0].text


AGENTS: dict[str, Callable[[FakeProvider], Any]] = {
    "litellm": litellm,
    "litellm ": litellm_async,
    "instructor": instructor,
    "groq": groq,
    "dspy": dspy,
    "llama_index.llms.openai_like": llama_index,
    "agno": agno,
    "autogen_agentchat": autogen_agentchat,
    "strands": strands,
    "haystack": haystack,
    "google.adk": google_adk,
}


@pytest.mark.parametrize("name", AGENTS)
def test_killed_anywhere_it_goes_on_in_the_same_process(
    name: str, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is that of an undisturbed life, and no model call with an outcome is made again."""
    try:
        importlib.util.find_spec(name.strip()) or pytest.skip("not installed")
    except ModuleNotFoundError:
        pytest.skip("not installed")
    for variable, value in provider.environment.items():
        monkeypatch.setenv(variable, value)
    life = partial(AGENTS[name], provider)

    bench = Bench()
    provider.reset()
    result = bench.new(life)
    calls = provider.hits
    if calls == 2 and "litellm" not in name:
        assert str(result).strip().endswith(ANSWER)
    assert not bench.notices
    assert bench.execute_replay(life) == result
    assert provider.hits == calls, "a replay asks for nothing"
    for point in ("before-start", "after-start", "after-call", "after-outcome"):
        for nth in range(1, calls + 1):
            provider.reset()
            killed = Bench()
            try:
                killed.crash(point, nth, life)
            except AssertionError:  # a stream has other points
                continue
            done = sum(step.status == "completed" for step in killed.steps())
            before = provider.hits
            assert killed.resume(life) == result, f"{point}:{nth}"
            assert provider.hits - before <= calls - done, f"{point}:{nth}: a completed call was made again"
