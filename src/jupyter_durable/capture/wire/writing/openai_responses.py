"""OpenAI Responses. A conversation that is continued by `previous_response_id` is remembered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from jupyter_durable.capture.wire.writing.anthropic import signature
from jupyter_durable.capture.wire.writing.base import (
    CALL_SERIAL,
    Answer,
    Frame,
    Wire,
    arguments_of,
    sse,
    text_of,
)
from jupyter_durable.capture.wire.writing.openai_chat import openai_error
from jupyter_durable.capture.wire.writing.replies import ToolCall, fragments, words
from jupyter_durable.capture.wire.writing.requests import Message, Request

Item = dict[str, Any]


class OpenAIResponses(Wire):
    """`POST …/responses`."""

    api = "openai.responses"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stored: dict[str, list[Item]] = {}

    def read(self, request: Request, target: dict[str, str]) -> None:
        body = request.body
        request.model, request.stream = body["model"], bool(body.get("stream"))
        if body.get("instructions"):
            request.messages.append(Message("system", text_of(body["instructions"])))
        request.messages += _messages(self._conversation(body))
        request.tools = [tool["name"] for tool in body.get("tools") or () if tool.get("type") == "function"]
        choice = body.get("tool_choice")
        if isinstance(choice, dict):
            request.forced_tool = choice.get("name", "")
        elif choice == "required" and len(request.tools) == 1:
            request.forced_tool = request.tools[0]
        request.schema = ((body.get("text") or {}).get("format") or {}).get("schema")

    def call_id(self, token: str, serial: int) -> str:
        return f"call_{token[:22]}{serial:0{CALL_SERIAL}d}"

    def whole(self, answer: Answer) -> Any:
        output = _output(answer)
        with self._lock:
            self._stored[f"resp_{answer.token}"] = self._conversation_unlocked(answer.request.body) + output
        return self._response(answer, output, done=True)

    def frames(self, answer: Answer) -> Iterator[Frame]:
        number = -1

        def event(kind: str, /, content: bool = False, **data: Any) -> Frame:
            nonlocal number
            number += 1
            return Frame(sse({"type": kind, **data, "sequence_number": number}, kind), content)

        response = self.whole(answer)
        begun = self._response(answer, [], done=False)
        yield event("response.created", response=begun)
        yield event("response.in_progress", response=begun)
        for index, item in enumerate(response["output"]):
            yield event("response.output_item.added", output_index=index, item=_empty(item))
            at = {"item_id": item["id"], "output_index": index}
            if item["type"] == "reasoning":
                at["summary_index"] = 0
                part = item["summary"][0]
                yield event("response.reasoning_summary_part.added", **at, part=part | {"text": ""})
                for piece in words(part["text"]):
                    yield event("response.reasoning_summary_text.delta", True, **at, delta=piece)
                yield event("response.reasoning_summary_text.done", **at, text=part["text"])
                yield event("response.reasoning_summary_part.done", **at, part=part)
            elif item["type"] == "message":
                at["content_index"] = 0
                part = item["content"][0]
                yield event("response.content_part.added", **at, part=part | {"text": ""})
                for piece in answer.reply.chunks:
                    yield event("response.output_text.delta", True, **at, delta=piece, logprobs=[])
                yield event("response.output_text.done", **at, text=part["text"], logprobs=[])
                yield event("response.content_part.done", **at, part=part)
            else:
                for piece in fragments(item["arguments"]):
                    yield event("response.function_call_arguments.delta", True, **at, delta=piece)
                said = {"name": item["name"], "arguments": item["arguments"]}
                yield event("response.function_call_arguments.done", **at, **said)
            yield event("response.output_item.done", output_index=index, item=item)
        yield event(f"response.{response['status']}", response=response)

    def error(self, status: int, message: str) -> Any:
        return openai_error(status, message)

    def error_frame(self, status: int, message: str) -> bytes:
        code = "rate_limit_exceeded" if status == 429 else "server_error"
        said = {"type": "error", "code": code, "message": message, "param": None, "sequence_number": 0}
        return sse(said, "error")

    def _conversation(self, body: dict[str, Any]) -> list[Item]:
        with self._lock:
            return self._conversation_unlocked(body)

    def _conversation_unlocked(self, body: dict[str, Any]) -> list[Item]:
        items = body["input"]
        if isinstance(items, str):
            items = [{"role": "user", "content": items}]
        before = body.get("previous_response_id")
        if before is not None and before not in self._stored:
            raise ValueError(f"Previous response with id {before!r} not found.")
        return (self._stored[before] if before is not None else []) + list(items)

    def _response(self, answer: Answer, output: list[Item], *, done: bool) -> dict[str, Any]:
        body, spent = answer.request.body, answer.usage
        short = done and answer.reply.finish != "stop"
        reason = "max_output_tokens" if answer.reply.finish == "length" else "content_filter"
        return {
            "id": f"resp_{answer.token}",
            "object": "response",
            "created_at": answer.created,
            "status": "in_progress" if not done else "incomplete" if short else "completed",
            "background": False,
            "error": None,
            "incomplete_details": {"reason": reason} if short else None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "model": answer.request.model,
            "output": output,
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": body.get("previous_response_id"),
            "reasoning": {"effort": None, "summary": None} | (body.get("reasoning") or {}),
            "service_tier": "default",
            "store": body.get("store", True),
            "temperature": body.get("temperature", 1.0),
            "text": body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p", 1.0),
            "truncation": "disabled",
            "usage": None
            if not done
            else {
                "input_tokens": spent.input,
                "input_tokens_details": {
                    "cached_tokens": spent.cached,
                    "cache_write_tokens": spent.cache_write,
                },
                "output_tokens": spent.output,
                "output_tokens_details": {"reasoning_tokens": spent.reasoning},
                "total_tokens": spent.input + spent.output,
            },
            "user": None,
            "metadata": body.get("metadata") or {},
        }


def _output(answer: Answer) -> list[Item]:
    reply, token = answer.reply, answer.token
    output: list[Item] = []
    status = "completed" if reply.finish == "stop" else "incomplete"
    if reply.thinking:
        thought: Item = {
            "id": f"rs_{token}",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": reply.thinking}],
        }
        if "reasoning.encrypted_content" in (answer.request.body.get("include") or ()):
            thought["encrypted_content"] = signature(reply.thinking)
        output.append(thought)
    if reply.text or not reply.tool_calls:
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": reply.text}
        output.append(
            {
                "id": f"msg_{token}",
                "type": "message",
                "status": status,
                "role": "assistant",
                "content": [part],
            }
        )
    output += [
        {
            "id": f"fc_{token}{serial:02d}",
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.json,
        }
        for serial, call in enumerate(reply.tool_calls)
    ]
    return output


def _empty(item: Item) -> Item:
    blank: Item = {"status": "in_progress"} if "status" in item else {}
    names = {"reasoning": ("summary", []), "message": ("content", []), "function_call": ("arguments", "")}
    name, value = names[item["type"]]
    return item | blank | {name: value}


def _messages(items: list[Item]) -> list[Message]:
    """Items as messages: what one response put out is one message of the model.

    Ids of calls begin with what names their response: a client may put the result of each call right behind it.
    """
    found: list[Message] = []
    origins: dict[str, int] = {}
    last = -1
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call_output":
            found.append(Message("tool", results=((item["call_id"], text_of(item["output"])),)))
        elif kind == "function_call":
            call = ToolCall(item["name"], arguments_of(item["arguments"]), item["call_id"])
            origin = call.id[:-CALL_SERIAL]
            at = origins.get(origin, last)
            last = _join(found, Message("assistant", "", (call,)), at)
            origins[origin] = last
            continue
        elif kind == "message" and item.get("role") == "assistant":
            last = _join(found, Message("assistant", text_of(item["content"])), last)
            continue
        elif kind == "message":
            role = item["role"]
            found.append(
                Message("system" if role in ("system", "developer") else "user", text_of(item["content"]))
            )
        else:
            continue  # a thought belongs to what comes after it
        last = -1
    return found


def _join(found: list[Message], more: Message, at: int) -> int:
    if at < 0:
        found.append(more)
        return len(found) - 1
    one = found[at]
    found[at] = Message("assistant", one.text + more.text, one.tool_calls + more.tool_calls)
    return at
