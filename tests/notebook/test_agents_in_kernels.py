"""Agents of three SDKs in one cell, killed in the middle of each stream: a fresh kernel runs the cell and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel_agents import LOAD, said, session, until
from kernels import Kernel

from jupyter_durable.session import open_store
from jupyter_durable.testing import ProviderProcess

pytestmark = pytest.mark.slow

SCRIPT = """
from jupyter_durable.testing import call, reply, slow

def script(request):
    name = request.api.partition(".")[0]
    if request.stream:
        return [slow(delay=0.03), reply(" ".join(f"{name}-{n}" for n in range(24)))]  # most of it is still to come where a test kills
    if request.tools and not request.turn:
        return reply(tool_calls=[call("search", q="leases"), call("search", q="fencing tokens")])
    return reply(f"{name} has read: {' '.join(sorted(request.results.values()))}")
"""

SET_UP = """
import json
import anthropic, boto3, openai

client = openai.OpenAI()
claude = anthropic.AsyncAnthropic()
bedrock = boto3.client("bedrock-runtime")
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}

def search(q):
    return f"page about {q}"
"""
"""The cell above: clients, and a plain function."""

CELL = """%%durable three
question = [{"role": "user", "content": "What is a lease?"}]

# openai: a tool loop, then streamed
tools = [{"type": "function", "function": {"name": "search", "parameters": SCHEMA}}]
messages = list(question)
while (answer := client.chat.completions.create(model="m", messages=messages, tools=tools).choices[0].message).tool_calls:
    messages.append(answer.model_dump(exclude_none=True, include={"role", "tool_calls"}))
    for asked in answer.tool_calls:
        found = search(**json.loads(asked.function.arguments))
        messages.append({"role": "tool", "tool_call_id": asked.id, "content": found})
print(answer.content)
words = []
for chunk in client.chat.completions.create(model="m", messages=question, stream=True):
    if chunk.choices and chunk.choices[0].delta.content:
        words.append(chunk.choices[0].delta.content)
        print(words[-1], flush=True)

# anthropic, async, streamed and whole
async with claude.messages.stream(model="m", max_tokens=100, messages=question) as stream:
    async for text in stream.text_stream:
        words.append(text)
        print(text, flush=True)
whole = await claude.messages.create(model="m", max_tokens=100, messages=question)

# bedrock, streamed
for event in bedrock.converse_stream(modelId="m", messages=[{"role": "user", "content": [{"text": "And?"}]}])["stream"]:
    if "contentBlockDelta" in event:
        words.append(event["contentBlockDelta"]["delta"]["text"])
        print(words[-1], flush=True)

type(whole).__module__, whole.content[0].text, answer.content, "".join(words)
"""
CALLS = 6


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    """A process that no kernel takes along."""
    path = tmp_path_factory.mktemp("provider") / "script.py"
    path.write_text(SCRIPT)
    with ProviderProcess(path) as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(
    provider: ProviderProcess, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str, list[str]]:
    """The result, what is printed, and the calls."""
    place = tmp_path_factory.mktemp("undisturbed")
    with Kernel(place, env={**provider.environment, **session(place)}) as kernel:
        kernel.check(LOAD)
        kernel.check(SET_UP)
        reply = kernel.check(CELL)
    assert reply.result is not None
    made = answered(provider)
    assert len(made) == CALLS
    return reply.result, reply.stdout, made


def answered(provider: ProviderProcess) -> list[str]:
    """The calls that were answered to their end, in order."""
    return [
        f"{request['path']} {json.dumps(request['body'], sort_keys=True)}"
        for request in provider.requests
        if request["outcome"] == "answered"
    ]


def completed(kernel: Kernel) -> int:
    """How many calls have an outcome on disk."""
    with open_store(kernel.store) as store:
        return sum(step.status == "completed" for step in store.steps(store.runs(name="three")[0].id))


@pytest.mark.parametrize(("word", "done"), [("openai-4", 2), ("anthropic-5", 3), ("bedrock-3", 5)])
def test_killed_in_the_middle_of_a_stream(
    word: str,
    done: int,
    provider: ProviderProcess,
    undisturbed: tuple[str, str, list[str]],
    make_kernel: Callable[..., Kernel],
    tmp_path: Path,
) -> None:
    """Clients, schemas and functions come from the snapshot; answered calls from the journal, streamed ones as streams."""
    result, printed, made = undisturbed
    env = {**provider.environment, **session(tmp_path)}
    provider.reset()
    kernel = make_kernel(env=env)
    kernel.check(LOAD)
    kernel.check(SET_UP)
    cell = kernel.submit(CELL)
    until(kernel, cell, lambda: word in cell.stdout)
    kernel.kill()
    assert completed(kernel) == done
    kernel.close()
    before = answered(provider)
    assert before == made[:done]
    fresh = make_kernel(env=env)
    fresh.check(LOAD)
    reply = fresh.check(CELL, allow_stdin=True)
    assert "resuming three" in said(reply)
    assert reply.result == result
    assert reply.stdout == printed
    assert Counter(answered(provider)) == Counter(made), "each call is answered once, whatever was killed"
    fresh.close()
