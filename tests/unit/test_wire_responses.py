"""Responses read as they come: text so far, whether they are whole, tokens and price, in any split of the bytes."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_durable.capture.wire import Described, Reader, describe, prices

SSE = [("Content-Type", "text/event-stream; charset=utf-8")]
JSON = [("Content-Type", "application/json")]
AWS = [("Content-Type", "application/vnd.amazon.eventstream")]


@pytest.fixture(autouse=True, scope="module")
def _prices() -> None:
    assert prices.load()


def asked(url: str, body: dict[str, Any]) -> Described:
    """A described model call."""
    found = describe("POST", url, JSON, json.dumps(body).encode())
    assert found is not None
    assert found.kind == "model"
    return found


def sse(*events: Any, named: bool = False) -> bytes:
    """Server-sent events."""
    lines = []
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        name = f"event: {event['type']}\n" if named and isinstance(event, dict) else ""
        lines.append(f"{name}data: {data}\n\n")
    return "".join(lines).encode()


def frame(kind: str, payload: dict[str, Any], *, header: str = ":event-type") -> bytes:
    """A message of an AWS event stream, checksums as they are on the wire."""
    headers = b""
    for name, value in ((header, kind), (":content-type", "application/json"), (":message-type", "event")):
        headers += (
            bytes([len(name)]) + name.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
        )
    body = json.dumps(payload).encode()
    prelude = (16 + len(headers) + len(body)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    message = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + body
    return message + zlib.crc32(message).to_bytes(4, "big")


CHAT = asked(
    "https://api.openai.com/v1/chat/completions", {"model": "gpt-4o", "messages": [], "stream": True}
)
RESPONSES = asked(
    "https://api.openai.com/v1/responses", {"model": "gpt-5-mini", "input": "a", "stream": True}
)
MESSAGES = asked(
    "https://api.anthropic.com/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": []}
)
_GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash"
GEMINI = asked(f"{_GEMINI}:streamGenerateContent?alt=sse", {"contents": []})
GEMINI_LIST = asked(f"{_GEMINI}:streamGenerateContent", {"contents": []})
_BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0"
CONVERSE = asked(f"{_BEDROCK}/converse-stream", {"messages": []})
INVOKE = asked(f"{_BEDROCK}/invoke-with-response-stream", {"messages": [], "max_tokens": 9})
CONVERSATIONS = asked(
    "https://api.mistral.ai/v1/conversations", {"model": "mistral-large-latest", "inputs": "a"}
)
INTERACTIONS = asked(
    "https://generativelanguage.googleapis.com/v1beta/interactions",
    {"model": "gemini-2.5-flash", "input": "a"},
)
OLLAMA = asked("http://localhost:11434/api/chat", {"model": "llama3", "messages": []})

CHAT_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 500},
    "completion_tokens_details": {"reasoning_tokens": 40},
}


def chat_chunk(delta: dict[str, Any] | None, finish: str | None = None, usage: Any = None) -> dict[str, Any]:
    """A chunk, as OpenAI's types have it."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": choices,
        "usage": usage,
    }


CHAT_EVENTS = [
    chat_chunk({"role": "assistant", "content": ""}),
    chat_chunk({"content": "Grüß"}),
    chat_chunk({"content": " dich"}),
    chat_chunk({"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": {"name": "look", "arguments": ""}}]}),
    chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
    chat_chunk({}, "tool_calls"),
    chat_chunk(None, usage=CHAT_USAGE),
]  # fmt: skip
MESSAGE_EVENTS = [
    {
        "type": "message_start",
        "message": {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "claude-sonnet-4-5-20250929",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 200,
                "output_tokens": 1,
                "cache_read_input_tokens": 700,
                "cache_creation_input_tokens": 100,
            },
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüß"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " dich"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "t", "name": "look", "input": {}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 100},
    },
    {"type": "message_stop"},
]
_RESPONSE = {
    "id": "r",
    "object": "response",
    "model": "gpt-5-mini-2025-08-07",
    "status": "in_progress",
    "output": [],
}
_CALL = {"type": "function_call", "id": "f", "call_id": "c", "name": "look", "arguments": "{}"}
_MESSAGE = {
    "type": "message",
    "id": "m",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Grüß dich"}],
}
RESPONSE_DONE = {
    **_RESPONSE,
    "status": "completed",
    "output": [_MESSAGE, _CALL],
    "usage": {
        "input_tokens": 1000,
        "input_tokens_details": {"cached_tokens": 500},
        "output_tokens": 100,
        "output_tokens_details": {"reasoning_tokens": 40},
        "total_tokens": 1100,
    },
}
RESPONSE_EVENTS = [
    {"type": "response.created", "response": _RESPONSE},
    {
        "type": "response.output_text.delta",
        "delta": "Grüß",
        "item_id": "m",
        "output_index": 0,
        "content_index": 0,
    },
    {
        "type": "response.output_text.delta",
        "delta": " dich",
        "item_id": "m",
        "output_index": 0,
        "content_index": 0,
    },
    {"type": "response.output_item.done", "output_index": 0, "item": _MESSAGE},
    {"type": "response.output_item.done", "output_index": 1, "item": _CALL},
    {"type": "response.completed", "response": RESPONSE_DONE},
]
GEMINI_EVENTS = [
    {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "Grüß"}]}}
        ],
        "usageMetadata": {"promptTokenCount": 1000, "totalTokenCount": 1000},
        "modelVersion": "gemini-2.5-flash",
    },
    {
        "candidates": [
            {"content": {"parts": [{"text": " dich"}, {"functionCall": {"name": "look", "args": {}}}]}}
        ]
    },
    {
        "candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 1000,
            "candidatesTokenCount": 60,
            "thoughtsTokenCount": 40,
            "cachedContentTokenCount": 500,
            "totalTokenCount": 1100,
        },
    },
]
CONVERSE_FRAMES = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Grüß"}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": " dich"}}),
    ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "look"}}}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": {"inputTokens": 1000, "outputTokens": 100, "totalTokens": 1100}, "metrics": {"latencyMs": 1}}),
]  # fmt: skip
CONVERSATION_EVENTS = [
    {"type": "conversation.response.started", "conversation_id": "c"},
    {"type": "message.output.delta", "id": "m", "content": "Grüß", "role": "assistant", "model": "mistral-large-latest"},
    {"type": "message.output.delta", "id": "m", "content": {"type": "text", "text": " dich"}, "role": "assistant"},
    {"type": "function.call.delta", "id": "f", "name": "look", "tool_call_id": "t", "arguments": "{"},
    {"type": "function.call.delta", "id": "f", "name": "look", "tool_call_id": "t", "arguments": "}"},
    {"type": "conversation.response.done", "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}},
]  # fmt: skip
INTERACTION_EVENTS = [
    {"event_type": "interaction.created", "interaction": {"id": "i", "model": "gemini-2.5-flash", "status": "in_progress"}},
    {"event_type": "step.start", "index": 0, "step": {"type": "model_output", "content": []}},
    {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Grüß"}},
    {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": " dich"}},
    {"event_type": "step.start", "index": 1, "step": {"type": "function_call", "id": "f", "name": "look", "arguments": {}}},
    {
        "event_type": "interaction.completed",
        "interaction": {
            "id": "i",
            "status": "requires_action",
            "usage": {"total_input_tokens": 1000, "total_output_tokens": 60, "total_thought_tokens": 40, "total_cached_tokens": 500},
        },
    },
]  # fmt: skip
OLLAMA_LINES = [
    {"model": "llama3", "message": {"role": "assistant", "content": "Grüß"}, "done": False},
    {
        "model": "llama3",
        "message": {"content": " dich", "tool_calls": [{"function": {"name": "look"}}]},
        "done": False,
    },
    {
        "model": "llama3",
        "message": {"content": ""},
        "done": True,
        "prompt_eval_count": 1000,
        "eval_count": 100,
    },
]

STREAMS: dict[str, tuple[Described, list[tuple[str, str]], bytes, bytes]] = {
    "chat": (CHAT, SSE, sse(*CHAT_EVENTS), sse("[DONE]")),
    "responses": (
        RESPONSES,
        SSE,
        sse(*RESPONSE_EVENTS[:-1], named=True),
        sse(RESPONSE_EVENTS[-1], named=True),
    ),
    "messages": (MESSAGES, SSE, sse(*MESSAGE_EVENTS[:-1], named=True), sse(MESSAGE_EVENTS[-1], named=True)),
    "gemini": (GEMINI, SSE, sse(*GEMINI_EVENTS[:-1]), sse(GEMINI_EVENTS[-1]).replace(b"\n", b"\r\n")),
    "gemini list": (
        GEMINI_LIST,
        JSON,
        json.dumps(GEMINI_EVENTS[:2], ensure_ascii=False)[:-1].encode(),
        b",\r\n" + json.dumps(GEMINI_EVENTS[2]).encode() + b"]",
    ),
    "converse": (
        CONVERSE,
        AWS,
        b"".join(frame(*f) for f in CONVERSE_FRAMES[:-1]),
        frame(*CONVERSE_FRAMES[-1]),
    ),
    "invoke": (
        INVOKE,
        AWS,
        b"".join(
            frame("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})
            for event in MESSAGE_EVENTS[:-1]
        ),
        frame("chunk", {"bytes": base64.b64encode(b'{"type": "message_stop"}').decode()}),
    ),
    "conversations": (CONVERSATIONS, SSE, sse(*CONVERSATION_EVENTS[:-1]), sse(CONVERSATION_EVENTS[-1])),
    "interactions": (INTERACTIONS, SSE, sse(*INTERACTION_EVENTS[:-1]), sse(INTERACTION_EVENTS[-1])),
    "ollama": (
        OLLAMA,
        [("content-type", "application/x-ndjson")],
        "".join(json.dumps(line) + "\n" for line in OLLAMA_LINES[:-1]).encode(),
        json.dumps(OLLAMA_LINES[-1]).encode() + b"\n",
    ),
}


def split(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The bytes in pieces."""
    borders = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return (data[a:b] for a, b in itertools.pairwise(borders))


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


@given(st.sampled_from(["gzip", "deflate", "raw deflate"]), st.lists(st.integers(0, 10**6), max_size=20))
def test_compressed_streams(how: str, cuts: list[int]) -> None:
    """Compression is undone as far as the bytes go."""
    body = sse(*CHAT_EVENTS, "[DONE]")
    packed = {
        "gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "raw deflate": zlib.compress(body, wbits=-15),
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
    described = asked(f"{_BEDROCK}/invoke", {"prompt": "a"})
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
