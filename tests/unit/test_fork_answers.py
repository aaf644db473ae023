"""Forks in which a service has answered something else: through the real SDKs, whole and streamed, sync and async."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from http_server import serving
from runs import Bench

from jupyter_durable.errors import DurableError
from jupyter_durable.testing import FakeProvider, call, cut, fault, reply

SEARCH = {"q": "leases"}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """A model that repeats what it hears, and counts."""
    with FakeProvider() as provider:
        for variable, value in provider.environment.items():
            monkeypatch.setenv(variable, value)
        yield provider


def at(bench: Bench) -> str:
    """The exchange of the newest run, the last one: coroutines have strands of their own."""
    return [step.id for step in bench.steps() if step.kind in ("model", "http")][-1]


# -- one question, in every SDK: its text, and the tools asked for with their arguments ----------------

Said = tuple[str, list[tuple[str, Any]]]
Ask = Callable[[str], Said]


def chat(*, stream: bool) -> Ask:
    """`openai`, Chat Completions."""
    openai = pytest.importorskip("openai")

    def ask(text: str) -> Said:
        client = openai.OpenAI(max_retries=0)
        how: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": text}], "tools": TOOLS}
        if stream:
            with client.chat.completions.stream(**how) as events:
                message = events.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(**how).choices[0].message
        return str(message.content or ""), _openai_calls(message)

    return ask


def chat_async(*, stream: bool) -> Ask:
    """The same for coroutines, the stream read by hand."""
    openai = pytest.importorskip("openai")

    async def ask(text: str) -> Said:
        async with openai.AsyncOpenAI(max_retries=0) as client:
            how: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": text}]}
            if not stream:
                message = (await client.chat.completions.create(**how)).choices[0].message
                return str(message.content or ""), _openai_calls(message)
            said, calls = "", {}
            async for chunk in await client.chat.completions.create(**how, stream=True):
                delta = chunk.choices[0].delta
                said += delta.content or ""
                for one in delta.tool_calls or ():
                    name, text = calls.get(one.index, ("", ""))
                    calls[one.index] = (name or one.function.name, text + (one.function.arguments or ""))
            return said, [(name, json.loads(text)) for name, text in calls.values()]

    return lambda text: asyncio.run(ask(text))


def _openai_calls(message: Any) -> list[tuple[str, Any]]:
    return [(one.function.name, json.loads(one.function.arguments)) for one in message.tool_calls or ()]


def responses(*, stream: bool) -> Ask:
    """`openai`, Responses."""
    openai = pytest.importorskip("openai")

    def ask(text: str) -> Said:
        client = openai.OpenAI(max_retries=0)
        if stream:
            with client.responses.stream(model="m", input=text) as events:
                found = events.get_final_response()
        else:
            found = client.responses.create(model="m", input=text)
        calls = [(one.name, json.loads(one.arguments)) for one in found.output if one.type == "function_call"]
        return str(found.output_text), calls

    return ask


def messages(*, stream: bool) -> Ask:
    """`anthropic`."""
    anthropic = pytest.importorskip("anthropic")

    def ask(text: str) -> Said:
        client = anthropic.Anthropic(max_retries=0)
        how: dict[str, Any] = {"model": "claude-sonnet-4-0", "max_tokens": 99}
        how["messages"] = [{"role": "user", "content": text}]
        if stream:
            with client.messages.stream(**how) as events:
                return _anthropic(events.get_final_message())
        return _anthropic(client.messages.create(**how))

    return ask


def messages_async(*, stream: bool) -> Ask:
    """The same for coroutines."""
    anthropic = pytest.importorskip("anthropic")

    async def ask(text: str) -> Said:
        async with anthropic.AsyncAnthropic(max_retries=0) as client:
            how: dict[str, Any] = {"model": "claude-sonnet-4-0", "max_tokens": 99}
            how["messages"] = [{"role": "user", "content": text}]
            if stream:
                async with client.messages.stream(**how) as events:
                    return _anthropic(await events.get_final_message())
            return _anthropic(await client.messages.create(**how))

    return lambda text: asyncio.run(ask(text))


def _anthropic(message: Any) -> Said:
    assert (message.usage.input_tokens, message.usage.output_tokens) >= (0, 0)
    return (
        "".join(part.text for part in message.content if part.type == "text"),
        [(part.name, part.input) for part in message.content if part.type == "tool_use"],
    )


def gemini(*, stream: bool) -> Ask:
    """`google-genai`."""
    genai = pytest.importorskip("google.genai")

    def ask(text: str) -> Said:
        client = genai.Client(api_key="fake", http_options={"base_url": os.environ["GOOGLE_GEMINI_BASE_URL"]})
        how = {"model": "gemini-2.0-flash", "contents": text}
        many = (
            list(client.models.generate_content_stream(**how))
            if stream
            else [client.models.generate_content(**how)]
        )
        parts = [part for one in many for part in one.candidates[0].content.parts]
        calls = [(part.function_call.name, part.function_call.args) for part in parts if part.function_call]
        return "".join(part.text or "" for part in parts), calls

    return ask


def converse(*, stream: bool) -> Ask:
    """`boto3`, Bedrock: JSON, or AWS's own framing with checksums that the SDK verifies."""
    boto3 = pytest.importorskip("boto3")

    def ask(text: str) -> Said:
        client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        how = {"modelId": "m.x", "messages": [{"role": "user", "content": [{"text": text}]}]}
        if not stream:
            content = client.converse(**how)["output"]["message"]["content"]
            calls = [(one["toolUse"]["name"], one["toolUse"]["input"]) for one in content if "toolUse" in one]
            return "".join(one.get("text", "") for one in content), calls
        said, names, texts = "", [], []
        for event in client.converse_stream(**how)["stream"]:
            if "contentBlockStart" in event:
                names.append(event["contentBlockStart"]["start"]["toolUse"]["name"])
                texts.append("")
            delta = event.get("contentBlockDelta", {}).get("delta", {})
            said += delta.get("text", "")
            if "toolUse" in delta:
                texts[-1] += delta["toolUse"]["input"]
        return said, [(name, json.loads(text)) for name, text in zip(names, texts, strict=True)]

    return ask


TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
SDKS = [chat, chat_async, responses, messages, messages_async, gemini, converse]


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.__name__)
def test_a_model_says_something_else(bench: Bench, provider: FakeProvider, sdk: Any, stream: bool) -> None:
    """With the SDK's own types; the model is not asked; what follows is made anew, and the diff shows messages."""
    ask = sdk(stream=stream)
    act = bench.tool(lambda text, tools: f"{text.upper()} {tools}", name="act")

    def agent() -> tuple[Said, str]:
        said = ask("hello")
        return said, act(*said)

    assert bench.new(agent)[0] == ("You said: hello", [])
    first = bench.record.id
    step = at(bench)
    forked = bench.facade.fork("run", step, result="Ciao, bella ciao!")
    assert bench.resume(agent) == (("Ciao, bella ciao!", []), "CIAO, BELLA CIAO! []")
    assert bench.execute_replay(agent)[0] == ("Ciao, bella ciao!", [])
    found = bench.facade.diff(first, forked.id)
    assert found.first is not None
    assert found.first.result == ("-assistant: You said: hello", "+assistant: Ciao, bella ciao!")
    assert bench.facade.messages(forked.id, step)[-1].text == "Ciao, bella ciao!"
    bench.facade.fork(first, step, result={"tool_calls": [{"name": "search", "arguments": SEARCH}]})
    assert bench.resume(agent)[0] == ("", [("search", SEARCH)])
    bench.facade.fork(first, step, result=reply("Let me see.", tool_calls=[call("search", **SEARCH)]))
    assert bench.resume(agent)[0] == ("Let me see.", [("search", SEARCH)])
    assert provider.hits == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("sdk", [chat, messages], ids=lambda sdk: sdk.__name__)
@pytest.mark.parametrize("status", [400, 529], ids=["refused", "overloaded"])
def test_a_model_that_never_answered_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, sdk: Any, stream: bool, status: int
) -> None:
    """Nothing was recorded but errors: the answer is made from the request alone."""
    ask = sdk(stream=stream)
    with FakeProvider([fault(status)]) as provider:
        for variable, value in provider.environment.items():
            monkeypatch.setenv(variable, value)
        with pytest.raises(Exception, match=str(status)):
            bench.new(lambda: ask("hello"))
        bench.facade.fork("run", at(bench), result="There, there.")
        assert bench.resume(lambda: ask("hello")) == ("There, there.", [])
        assert provider.attempts == 1


def test_a_stream_that_was_cut_off_comes_to_another_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks are left behind; the request is not made again."""
    ask = chat_async(stream=True)
    with FakeProvider([cut(after=2, times=9), "One two three four"]) as provider:
        for variable, value in provider.environment.items():
            monkeypatch.setenv(variable, value)
        with pytest.raises(Exception):  # noqa: B017 - the library's own
            bench.new(lambda: ask("hello"))
        bench.facade.fork("run", at(bench), result="Five six.")
        assert bench.resume(lambda: ask("hello")) == ("Five six.", [])
        assert provider.attempts == 1


def test_a_conversation_that_the_provider_remembers(bench: Bench, provider: FakeProvider) -> None:
    """An answer that continues another one by its id can be given, too."""
    openai = pytest.importorskip("openai")

    def agent() -> list[str]:
        client = openai.OpenAI(max_retries=0)
        one = client.responses.create(model="m", input="one")
        two = client.responses.create(model="m", input="two", previous_response_id=one.id)
        return [one.output_text, two.output_text]

    assert bench.new(agent) == ["You said: one", "You said: two"]
    bench.facade.fork("run", at(bench), result="zwei")
    assert bench.resume(agent) == ["You said: one", "zwei"]
    assert provider.hits == 2


def test_whole_responses_and_what_cannot_be_said(bench: Bench, provider: FakeProvider) -> None:
    """A body as its provider has it; the errors say what can be given."""
    openai = pytest.importorskip("openai")

    def embed() -> list[float]:
        client = openai.OpenAI(max_retries=0)
        found = client.embeddings.create(model="m", input="x", encoding_format="float")
        return list(found.data[0].embedding)

    with pytest.raises(openai.NotFoundError):
        bench.new(embed)
    with pytest.raises(DurableError, match="not known here") as caught:
        bench.facade.fork("run", at(bench), result="a text")
    assert "whole response" in caught.value.hint
    body = {"data": [{"index": 0, "object": "embedding", "embedding": [2.0]}]}
    bench.facade.fork("run", at(bench), result=body)
    assert bench.resume(embed) == [2.0]
    bench = Bench()
    ask = chat_async(stream=True)
    bench.new(lambda: ask("hello"))
    for wrong, said in (
        ({"choices": []}, "asked for a stream"),
        (7, "int is none"),
        ({"tool_calls": [{"function": "f"}]}, "a name and arguments"),
    ):
        with pytest.raises(DurableError, match=said):
            bench.facade.fork("run", at(bench), result=wrong)


# -- plain HTTP ----------------------------------------------------------------------------------------


def _httpx(url: str) -> Any:
    httpx = pytest.importorskip("httpx")
    return _shown(httpx.get(url))


def _httpx_streamed(url: str) -> Any:
    httpx = pytest.importorskip("httpx")

    async def get() -> Any:
        async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
            await response.aread()
            return _shown(response)

    return asyncio.run(get())


def _requests(url: str) -> Any:
    requests = pytest.importorskip("requests")
    return _shown(requests.get(url, timeout=10))


def _aiohttp(url: str) -> Any:
    aiohttp = pytest.importorskip("aiohttp")

    async def get() -> Any:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, response.headers.get("content-type", ""), await response.text()

    return asyncio.run(get())


def _shown(response: Any) -> Any:
    return response.status_code, response.headers.get("content-type", ""), response.text


CLIENTS = [_httpx, _httpx_streamed, _requests, _aiohttp]


@pytest.mark.slow
@pytest.mark.parametrize("get", CLIENTS, ids=lambda get: get.__name__)
@pytest.mark.parametrize(
    ("path", "value", "status", "kind", "text"),
    [
        ("/json", {"x": "ü"}, 200, "json", '{"x": "ü"}'),
        ("/json", '{"x": 2}', 200, "json", '{"x": 2}'),
        ("/gzip", [1], 200, "json", "[1]"),
        ("/br", [1], 200, "json", "[1]"),
        ("/chunks?n=3", "other", 200, "text/plain", "other"),
        ("/chunks?n=3", {"a": 1}, 200, "json", '{"a": 1}'),
        ("/stream?n=3", b"data: 1\n\n", 200, "event-stream", "data: 1\n\n"),
        ("/status?code=404&times=9", "found", 200, "text/plain", "found"),
    ],
)
def test_a_service_answers_something_else(
    bench: Bench, get: Any, path: str, value: Any, status: int, kind: str, text: str
) -> None:
    """Status and headers are the recorded ones, unless that was an error; the service is not asked."""
    with serving() as server:
        url = server.url + path
        before = bench.new(lambda: get(url))
        assert server.total == 1
        bench.facade.fork("run", at(bench), result=value)
        found = bench.resume(lambda: get(url))
        assert (found[0], found[2]) == (status, text) != (before[0], before[2])
        assert kind in found[1]
        assert bench.execute_replay(lambda: get(url)) == found
        assert server.total == 1


def test_a_body_that_does_not_fit(bench: Bench) -> None:
    """Text where JSON came, and what is no body: refused, and nothing is forked."""
    with serving() as server:
        url = f"{server.url}/json"
        bench.new(lambda: _httpx(url))
    for wrong, said in (("no json", "gives JSON, and that text is none"), ({1, 2}, "set is no body")):
        with pytest.raises(DurableError, match=said):
            bench.facade.fork("run", at(bench), result=wrong)
    assert len(bench.store.runs()) == 1
