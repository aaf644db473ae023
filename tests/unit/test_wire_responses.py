"""Responses read as they come: text so far, whether they are whole, tokens and price, in any split of the bytes."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from wire_streams import (
    BEDROCK,
    CHAT,
    CHAT_EVENTS,
    CHAT_USAGE,
    CONVERSE,
    CONVERSE_FRAMES,
    GEMINI,
    GEMINI_EVENTS,
    JSON,
    MESSAGES,
    RESPONSE_DONE,
    RESPONSES,
    SSE,
    STREAMS,
    asked,
    frame,
    sse,
)

from jupyter_durable.capture.wire import Described, Reader, describe, prices


@pytest.fixture(autouse=True, scope="module")
def _prices() -> None:
    assert prices.load()


def split(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The bytes in pieces."""
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return (data[a:b] for a, b in itertools.pairwise(borders))


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
@given(cuts=st.lists(st.integers(0, 10**6), max_size=40))
def test_streams_in_any_split(name: str, cuts: list[int]) -> None:
    """Text grows, the end is recognised by itself, and the summary is the same wherever the bytes are cut."""
    described, headers, body, last = STREAMS[name]
    reader = Reader(described, 200, headers)
    before = ""
    for piece in split(body, cuts):
        reader.feed(piece)
        assert reader.text.startswith(before)
        before = reader.text
        assert not reader.finished
    assert reader.text == "Grüß dich"
    for piece in split(last, cuts):
        reader.feed(piece)
    assert reader.finished
    summary = reader.summary()
    assert summary is not None
    assert (summary["input"], summary["output"], summary["tools"]) == (1000, 100, ["look"])
    assert summary["provider"] == described.provider
    assert summary["priced"] is (described.provider != "local")


@given(
    st.sampled_from(["gzip", "deflate", "raw deflate", "br", "zstd"]),
    st.lists(st.integers(0, 10**6), max_size=20),
)
def test_compressed_streams(how: str, cuts: list[int]) -> None:
    """Compression is undone as far as the bytes go."""
    body = sse(*CHAT_EVENTS, "[DONE]")
    packed = {
        "gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "raw deflate": zlib.compress(body, wbits=-15),
        "br": brotli.compress(body),
        "zstd": zstandard.ZstdCompressor().compress(body),
    }[how]
    reader = Reader(CHAT, 200, [*SSE, ("Content-Encoding", how.split()[-1])])
    for piece in split(packed, cuts):
        reader.feed(piece)
    assert reader.finished
    assert reader.text == "Grüß dich"


@given(st.binary(max_size=300), st.sampled_from(sorted(STREAMS)), st.sampled_from(["", "gzip", "br", "what"]), st.integers(0, 50))  # fmt: skip
def test_nothing_raises(noise: bytes, name: str, encoding: str, at: int) -> None:
    """A reader only watches: whatever comes, the SDK reads it, too."""
    described, headers, body, _ = STREAMS[name]
    reader = Reader(described, 200, [*headers, ("content-encoding", encoding)])
    reader.feed(body[:at])
    reader.feed(noise)
    reader.feed(body[at:])
    assert isinstance(reader.text, str)
    reader.summary()


@pytest.mark.slow
@given(st.recursive(st.none() | st.text(max_size=3) | st.integers() | st.booleans(), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["choices", "delta", "content", "usage", "type", "message", "response", "item", "error", "candidates", "parts", "text", "output", "steps", "outputs", "bytes", "tool_calls", "function", "name"]), x, max_size=4), max_leaves=12), st.sampled_from(sorted(STREAMS)))  # fmt: skip
def test_events_of_another_shape_are_left_alone(event: Any, name: str) -> None:
    """Known words in unknown places give no error, and the next event is read as ever."""
    described, headers, body, last = STREAMS[name]
    if headers is SSE:
        reader = Reader(described, 200, headers)
        reader.feed(sse(json.dumps(event)))
        reader.feed(body + last)
        assert reader.text.endswith("Grüß dich")
        assert reader.finished


def whole(
    described: Described, body: dict[str, Any], headers: list[tuple[str, str]] = JSON
) -> dict[str, Any]:
    """The summary of a response that came at once, after a look at its text."""
    reader = Reader(described, 200, headers)
    reader.feed(json.dumps(body).encode())
    summary = reader.summary()
    assert summary is not None
    return {**summary, "text": reader.text}


def test_chat_completion_as_openai_types_it() -> None:
    """A whole answer, checked against the SDK's own type."""
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    for event in CHAT_EVENTS:
        ChatCompletionChunk.model_validate(event)
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi"},
                "finish_reason": "stop",
                "logprobs": None,
            },
            {
                "index": 1,
                "message": {"role": "assistant", "content": "no"},
                "finish_reason": "stop",
                "logprobs": None,
            },
        ],
        "usage": CHAT_USAGE,
    }
    ChatCompletion.model_validate(body)
    assert whole(CHAT, body) == {
        "provider": "openai",
        "model": "gpt-4o-2024-08-06",
        "input": 1000,
        "output": 100,
        "cached": 500,
        "reasoning": 40,
        "cost": pytest.approx(500 * 2.5e-6 + 500 * 1.25e-6 + 100 * 10e-6),
        "priced": True,
        "finish": "stop",
        "tools": [],
        "text": "hi",
    }


def test_response_as_openai_types_it() -> None:
    """The same for responses."""
    summary = whole(RESPONSES, RESPONSE_DONE)
    assert (summary["text"], summary["tools"], summary["finish"]) == ("Grüß dich", ["look"], "completed")
    assert (summary["input"], summary["cached"], summary["output"], summary["reasoning"]) == (
        1000,
        500,
        100,
        40,
    )
    cut = {**RESPONSE_DONE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert whole(RESPONSES, cut)["finish"] == "max_output_tokens"


def test_message_as_anthropic_types_it() -> None:
    """What the cache read and wrote is input, too, at its own price."""
    from anthropic.types import Message

    body = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "hi"}, {"type": "tool_use", "id": "t", "name": "look", "input": {}}],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 200, "output_tokens": 100, "cache_read_input_tokens": 700, "cache_creation_input_tokens": 100},
    }  # fmt: skip
    Message.model_validate(body)
    summary = whole(MESSAGES, body)
    assert (summary["input"], summary["cached"], summary["output"]) == (1000, 700, 100)
    assert summary["cost"] == pytest.approx(200 * 3e-6 + 700 * 0.3e-6 + 100 * 3.75e-6 + 100 * 15e-6)
    assert (summary["text"], summary["finish"], summary["tools"]) == ("hi", "tool_use", ["look"])


def test_other_whole_answers() -> None:
    """Gemini, Bedrock, Mistral, embeddings."""
    assert whole(GEMINI, {**GEMINI_EVENTS[0], **GEMINI_EVENTS[2]})["reasoning"] == 40
    bedrock = {
        "output": {
            "message": {"role": "assistant", "content": [{"text": "hi"}, {"toolUse": {"name": "look"}}]}
        },
        "stopReason": "end_turn",
        "usage": {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 3, "totalTokens": 18},
    }
    found = whole(CONVERSE, bedrock)
    assert (found["text"], found["input"], found["cached"], found["tools"]) == ("hi", 13, 3, ["look"])
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "hi"}]
    mistral = asked(
        "https://api.mistral.ai/v1/chat/completions", {"model": "mistral-large-latest", "messages": []}
    )
    found = whole(
        mistral,
        {
            "model": "mistral-large-latest",
            "choices": [{"index": 0, "message": {"content": parts}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        },
    )
    assert (found["text"], found["priced"]) == ("hi", True)
    embed = asked("https://api.openai.com/v1/embeddings", {"model": "text-embedding-3-small", "input": "a"})
    found = whole(embed, {"object": "list", "data": [], "model": "text-embedding-3-small", "usage": {"prompt_tokens": 1000, "total_tokens": 1000}})  # fmt: skip
    assert found["cost"] == pytest.approx(2e-5)


def test_the_frames_here_are_those_of_aws() -> None:
    """botocore reads what these tests call an event stream, checksums and all."""
    eventstream = pytest.importorskip("botocore.eventstream")
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(b"".join(frame(*each) for each in CONVERSE_FRAMES))
    assert [message.headers[":event-type"] for message in buffer] == [name for name, _ in CONVERSE_FRAMES]


def test_invoke_of_models_that_report_in_headers() -> None:
    """Families without usage in the body have it in the headers."""
    described = asked(f"{BEDROCK}/invoke", {"prompt": "a"})
    headers = [*JSON, ("X-Amzn-Bedrock-Input-Token-Count", "10"), ("X-Amzn-Bedrock-Output-Token-Count", "5")]
    found = whole(described, {"generation": "hi"}, headers)
    assert (found["input"], found["output"]) == (10, 5)


def test_what_is_not_known_is_said() -> None:
    """An unknown model, host or missing usage has no price; the usage is kept to price it later."""
    body = {"model": "house-model", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    for url in ("https://api.openai.com/v1/chat/completions", "http://127.0.0.1:8080/v1/chat/completions"):
        found = whole(asked(url, {"model": "house-model", "messages": []}), body)
        assert (found["cost"], found["priced"], found["usage"]) == (None, False, body["usage"])
    gpt = {**body, "model": "gpt-4o"}
    found = whole(
        asked("https://proxy.example/v1/chat/completions", {"model": "gpt-4o", "messages": []}), gpt
    )
    assert (found["provider"], found["cost"]) == (None, None)
    found = whole(CHAT, {"model": "gpt-4o", "choices": []})
    assert (found["input"], found["cost"], found["priced"]) == (None, None, False)


def test_openrouter_says_what_it_bills() -> None:
    """Its own figure goes before a list's."""
    url = "https://openrouter.ai/api/v1/chat/completions"
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.0123}
    assert (
        whole(asked(url, {"model": "x/y", "messages": []}), {"choices": [], "usage": usage})["cost"] == 0.0123
    )


def test_errors_are_no_answers() -> None:
    """A status that is no success is not read; an error inside a stream is named."""
    reader = Reader(CHAT, 429, JSON)
    reader.feed(b'{"error": {"message": "slow down"}}')
    assert reader.text == ""
    assert not reader.finished
    reader = Reader(MESSAGES, 200, SSE)
    reader.feed(sse({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}))
    summary = reader.summary()
    assert summary is not None
    assert summary["error"] == "busy"
    assert not reader.finished


def test_plain_http_has_no_summary() -> None:
    """Only models use tokens."""
    described = describe("GET", "https://h.example/", [], b"")
    assert described is not None
    reader = Reader(described, 200, JSON)
    reader.feed(b'{"choices": [{"message": {"content": "x"}}]}')
    assert reader.summary() is None
    assert reader.text == ""


def test_a_later_price_is_that_of_the_day() -> None:
    """What was recorded without a price is priced by its date."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "total_tokens": 1000}
    assert prices.cost("openai", "chat", "gpt-4o", usage, at=1_750_000_000.0) == pytest.approx(0.0025)
