"""One answer in the words of every model API: requests, events and frames as they come."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from jupyter_durable.capture.wire import Described, describe

SSE = [("Content-Type", "text/event-stream; charset=utf-8")]
JSON = [("Content-Type", "application/json")]
AWS = [("Content-Type", "application/vnd.amazon.eventstream")]


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
BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0"
CONVERSE = asked(f"{BEDROCK}/converse-stream", {"messages": []})
INVOKE = asked(f"{BEDROCK}/invoke-with-response-stream", {"messages": [], "max_tokens": 9})
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
