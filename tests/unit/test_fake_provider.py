"""The fake provider, judged by the SDKs it is made for: they must not be able to tell it from the real one."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator

import pytest
import sdks
from sdks import SDKS, City, Sdk

from jupyter_durable.testing import (
    FakeProvider,
    call,
    cut,
    drop,
    fault,
    reply,
    slow,
    usage,
)

ANSWER = "A lease is a lock that expires by itself."
AGENT = [
    reply(
        "Let me look.", tool_calls=[call("search", q="lease"), call("add", a=1, b=2)], thinking="Hm, a lease"
    ),
    reply(tool_calls=[call("search", q="fencing token")]),
    reply(ANSWER),
]


@pytest.fixture(params=SDKS, ids=lambda sdk: sdk.name)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """Each SDK that is installed."""
    if not request.param.available():
        pytest.skip(f"{request.param.module} is not installed")
    return request.param


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A provider that echoes until a test gives it a script."""
    with FakeProvider() as provider:
        yield provider


def _agent(sdk: Sdk, provider: FakeProvider, *, is_async: bool) -> str:
    if not is_async:
        return sdk.agent(provider)
    if not sdk.has_async:
        pytest.skip(f"{sdk.name} has no async client")
    return asyncio.run(sdk.agent_async(provider))


def _pieces(sdk: Sdk, provider: FakeProvider, *, is_async: bool) -> list[tuple[str, float]]:
    """What a stream gave, and when."""
    if not is_async:
        return [(piece, time.monotonic()) for piece in sdk.stream(provider)]
    if not sdk.has_async:
        pytest.skip(f"{sdk.name} has no async client")

    async def main() -> list[tuple[str, float]]:
        return [(piece, time.monotonic()) async for piece in sdk.stream_async(provider)]

    return asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_an_agent_with_parallel_tools(sdk: Sdk, provider: FakeProvider, is_async: bool) -> None:
    """Three turns, two tool calls at once in the first; the script sees what the tools said."""
    provider.script = AGENT

    assert _agent(sdk, provider, is_async=is_async) == ANSWER
    assert provider.hits == provider.attempts == 3
    assert [request.turn for request in provider.requests] == [0, 1, 2]
    assert {request.api for request in provider.requests} == {sdk.name}
    second = provider.requests[1]
    assert [said.removeprefix('{"result":"').rstrip('"}') for said in second.results.values()] == [
        "found lease",
        "3",
    ]
    assert second.tools == ["search", "add"]
    assert second.prompt == sdks.QUESTION


def test_a_call_made_again_gets_the_same_answer(sdk: Sdk, provider: FakeProvider) -> None:
    """After a crash an agent starts over: the script does not shift, ids included."""
    provider.script = AGENT
    sdk.agent(provider)
    once = [request.body for request in provider.requests]
    provider.reset()

    assert sdk.agent(provider) == ANSWER
    assert [request.body for request in provider.requests] == once


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_stream(sdk: Sdk, provider: FakeProvider, is_async: bool) -> None:
    """Word by word, and all of it."""
    provider.script = reply(ANSWER, thinking="" if sdk.name in ("gemini", "mistral", "bedrock") else "Hm")

    pieces = [piece for piece, _ in _pieces(sdk, provider, is_async=is_async)]
    assert pieces == list(reply(ANSWER).chunks)
    assert (provider.hits, provider.requests[0].stream) == (1, True)


def test_structured_output(sdk: Sdk, provider: FakeProvider) -> None:
    """The SDK's own parsing makes the object; the script can see the schema it asked for."""
    provider.script = reply(json={"name": "Bern", "people": 134_000})

    assert sdk.structured(provider) == City(name="Bern", people=134_000)
    if sdk.name != "bedrock":  # it was asked without one
        assert set(provider.requests[0].schema["properties"]) == {"name", "people"}


@pytest.mark.slow
def test_usage_with_cache_and_thoughts(sdk: Sdk, provider: FakeProvider) -> None:
    """Each SDK finds the counts where it looks for them, at the end of a stream, too."""
    provider.script = reply(ANSWER, usage=usage(100, 50, cached=20, cache_write=5, reasoning=10))

    assert sdk.tokens(provider) == (100, 50, 20)


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 500, 503])
def test_faults_are_retried_by_the_sdk(sdk: Sdk, provider: FakeProvider, status: int) -> None:
    """What the SDK takes for passing passes; what a test counts is what was answered."""
    provider.script = [fault(status, times=2, retry_after=0.01), ANSWER]

    assert sdk.agent(provider) == ANSWER
    assert (provider.hits, provider.attempts) == (1, 3)
    assert [(r.status, r.outcome) for r in provider.requests] == [
        (status, "fault"),
        (status, "fault"),
        (200, "answered"),
    ]


def test_an_error_that_is_not_retried(sdk: Sdk, provider: FakeProvider) -> None:
    """It has the SDK's own type, with the script's message."""
    provider.script = fault(403, "your plan does not include leases")

    with pytest.raises(sdk.refusal(), match="your plan does not include leases"):
        sdk.agent(provider)
    assert (provider.hits, provider.attempts) == (0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_stream_that_breaks_off(sdk: Sdk, provider: FakeProvider, is_async: bool, reset: bool) -> None:
    """After three words the SDK raises its error for that; the next time all is well."""
    provider.script = [cut(after=3, reset=reset), slow(delay=0.01), ANSWER]
    seen: list[str] = []

    def watched() -> None:
        for piece in sdk.stream(provider):
            seen.append(piece)  # noqa: PERF402 - what came before the error counts

    async def watched_async() -> None:
        async for piece in sdk.stream_async(provider):
            seen.append(piece)  # noqa: PERF401 - the same

    if is_async and not sdk.has_async:
        pytest.skip(f"{sdk.name} has no async client")
    with pytest.raises(sdk.errors()):
        asyncio.run(watched_async()) if is_async else watched()
    # A reset throws away what the client has not read yet.
    assert seen == list(reply(ANSWER).chunks[:3]) or (reset and len(seen) <= 3)
    assert (provider.hits, provider.requests[0].outcome) == (0, "cut")
    assert "".join(sdk.stream(provider)) == ANSWER
    assert provider.hits == 1


@pytest.mark.slow
def test_a_plain_answer_that_breaks_off(sdk: Sdk, provider: FakeProvider) -> None:
    """Half a body, or no answer at all: retried where the SDK does that, its connection error where not."""
    for trouble in (cut(), drop()):
        provider.reset()
        provider.script = [trouble, ANSWER]
        try:
            said = sdk.agent(provider)
        except (*sdk.errors(), KeyError):
            # (boto3 takes half a body for an answer without content.)
            said = sdk.agent(provider)
        assert said == ANSWER
        assert (provider.hits, provider.attempts) == (1, 2)
        assert provider.requests[0].outcome == "cut"


def test_an_error_in_the_middle_of_a_stream(sdk: Sdk, provider: FakeProvider) -> None:
    """As an event of the provider's kind; where that is an error for the SDK, it raises its own."""
    provider.script = [fault(503, "overloaded, sorry", after=2), ANSWER]
    seen: list[str] = []
    error: BaseException | None = None
    try:
        for piece in sdk.stream(provider):
            seen.append(piece)  # noqa: PERF402 - what came before the error counts
    except Exception as raised:
        error = raised

    assert seen == list(reply(ANSWER).chunks[:2])
    assert provider.requests[0].outcome == "fault"
    if sdk.name in ("openai.responses", "mistral"):
        return  # the one hands the error over as an event, the other has none for it
    assert "overloaded, sorry" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_slow_tokens_arrive_one_by_one(sdk: Sdk, provider: FakeProvider, is_async: bool) -> None:
    """The pauses are between the chunks, not before the first or after the last."""
    provider.script = [slow(delay=0.05), ANSWER]

    times = [at for _, at in _pieces(sdk, provider, is_async=is_async)]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert len(gaps) == len(reply(ANSWER).chunks) - 1
    # Nothing is said about how fast this machine is: only that no chunk waited for all of them.
    assert statistics.median(gaps) > 0.025
    assert max(gaps) < (times[-1] - times[0]) * 0.75


@pytest.mark.slow
def test_models_are_listed(provider: FakeProvider) -> None:
    """Each SDK finds the models in its own shape."""
    pytest.importorskip("openai")
    with sdks.OpenAIChat().client(provider) as client:
        assert [m.id for m in client.models.list()] == ["fake-model"]
        assert client.models.retrieve("gpt").id == "gpt"
    for other in (sdks.Anthropic(), sdks.Gemini(), sdks.Mistral()):
        if other.available():
            with other.client(provider) as client:
                listed = client.models.list()
            names = [getattr(m, "id", None) or m.name for m in getattr(listed, "data", listed)]
            assert names == ["models/fake-model" if other.name == "gemini" else "fake-model"]
    assert (provider.hits, provider.attempts) == (0, 0)


def test_the_environment_is_enough(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that makes its client without arguments talks to it."""
    openai = pytest.importorskip("openai")
    for name, value in provider.environment.items():
        monkeypatch.setenv(name, value)

    with openai.OpenAI() as client:
        said = client.responses.create(model="gpt", input="hi")
    assert said.output_text == "You said: hi"
