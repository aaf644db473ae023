"""OpenAI Chat Completions, which Groq, DeepSeek, OpenRouter and local servers speak, too; and Mistral's variety of it.

`thinking` is sent as `reasoning_content`, as DeepSeek does: OpenAI itself shows none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jupyter_durable.capture.wire.writing.base import (
    Answer,
    Frame,
    Wire,
    arguments_of,
    sse,
    text_of,
)
from jupyter_durable.capture.wire.writing.replies import ToolCall, fragments, words
from jupyter_durable.capture.wire.writing.requests import Message, Request


def openai_error(status: int, message: str) -> dict[str, Any]:
    """An error as OpenAI words it."""
    kind, code = {
        400: ("invalid_request_error", None),
        401: ("invalid_request_error", "invalid_api_key"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }.get(status, ("server_error", None) if status >= 500 else ("invalid_request_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class OpenAIChat(Wire):
    """`POST …/chat/completions`."""

    api = "openai.chat"

    def read(self, request: Request, target: dict[str, str]) -> None:
        body = request.body
        request.model, request.stream = body["model"], bool(body.get("stream"))
        request.messages = [_message(message) for message in body["messages"]]
        request.tools = [tool["function"]["name"] for tool in body.get("tools") or () if "function" in tool]
        choice = body.get("tool_choice")
        if isinstance(choice, dict):
            request.forced_tool = choice.get("function", {}).get("name", "")
        elif choice in ("required", "any") and len(request.tools) == 1:
            request.forced_tool = request.tools[0]
        wanted = body.get("response_format") or {}
        request.schema = (wanted.get("json_schema") or {}).get("schema")

    def call_id(self, token: str, serial: int) -> str:
        return f"call_{token[:22]}{serial:02d}"

    def whole(self, answer: Answer) -> Any:
        return self._head(answer, "chat.completion") | {
            "choices": [
                {
                    "index": 0,
                    "message": self._said(answer),
                    "logprobs": None,
                    "finish_reason": _finish(answer),
                }
            ],
            "usage": self._usage(answer),
            "service_tier": "default",
        }

    def frames(self, answer: Answer) -> Iterator[Frame]:
        head = self._head(answer, "chat.completion.chunk") | {"service_tier": "default"}
        with_usage = bool((answer.request.body.get("stream_options") or {}).get("include_usage"))
        if with_usage:
            head["usage"] = None

        def chunk(delta: dict[str, Any], finish: str | None = None, content: bool = True) -> Frame:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return Frame(sse(head | {"choices": [choice]}), content)

        reply = answer.reply
        yield chunk({"role": "assistant", "content": "", "refusal": None}, content=False)
        for piece in words(reply.thinking):
            yield chunk({"reasoning_content": piece})
        for piece in reply.chunks:
            yield chunk({"content": piece})
        for index, call in enumerate(reply.tool_calls):
            function = {"name": call.name, "arguments": ""}
            first = {"index": index, "id": call.id, "type": "function", "function": function}
            yield chunk({"tool_calls": [first]}, content=False)
            for piece in fragments(call.json):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield chunk({}, _finish(answer), content=False)
        if with_usage:
            yield Frame(sse(head | {"choices": [], "usage": self._usage(answer)}))
        yield Frame(sse("[DONE]"))

    def error(self, status: int, message: str) -> Any:
        return openai_error(status, message)

    def error_frame(self, status: int, message: str) -> bytes:
        return sse(self.error(status, message))

    def _head(self, answer: Answer, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{answer.token}",
            "object": kind,
            "created": answer.created,
            "model": answer.request.model,
            "system_fingerprint": None,
        }

    def _said(self, answer: Answer) -> dict[str, Any]:
        reply = answer.reply
        said: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text if reply.text or not reply.tool_calls else None,
            "refusal": None,
            "annotations": [],
        }
        if reply.thinking:
            said["reasoning_content"] = reply.thinking
        if reply.tool_calls:
            said["tool_calls"] = [function_call(call) for call in reply.tool_calls]
        return said

    def _usage(self, answer: Answer) -> dict[str, Any]:
        spent = answer.usage
        return {
            "prompt_tokens": spent.input,
            "completion_tokens": spent.output,
            "total_tokens": spent.input + spent.output,
            "prompt_tokens_details": {"cached_tokens": spent.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": spent.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


class MistralChat(OpenAIChat):
    """The same path, asked by `mistralai`: short ids, tool calls in one piece, thinking as content, usage always."""

    api = "mistral"

    def call_id(self, token: str, serial: int) -> str:
        return f"{token[:7]}{serial:02d}"

    def whole(self, answer: Answer) -> Any:
        said: dict[str, Any] = {"role": "assistant", "content": answer.reply.text, "tool_calls": None}
        if answer.reply.thinking:
            said["content"] = [_thought(answer.reply.thinking), {"type": "text", "text": answer.reply.text}]
        if answer.reply.tool_calls:
            said["tool_calls"] = [
                function_call(call) | {"index": index} for index, call in enumerate(answer.reply.tool_calls)
            ]
        return self._head(answer, "chat.completion") | {
            "choices": [{"index": 0, "message": said, "finish_reason": _finish(answer)}],
            "usage": self._usage(answer),
        }

    def frames(self, answer: Answer) -> Iterator[Frame]:
        head = self._head(answer, "chat.completion.chunk")

        def chunk(delta: dict[str, Any], content: bool = True) -> Frame:
            return Frame(
                sse(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}), content
            )

        reply = answer.reply
        yield chunk({"role": "assistant", "content": ""}, content=False)
        for piece in words(reply.thinking):
            yield chunk({"content": [_thought(piece)]})
        for piece in reply.chunks:
            yield chunk({"content": piece})
        last: dict[str, Any] = {"content": ""}
        if reply.tool_calls:
            last["tool_calls"] = [
                function_call(call) | {"index": index} for index, call in enumerate(reply.tool_calls)
            ]
        choice = {"index": 0, "delta": last, "finish_reason": _finish(answer)}
        yield Frame(sse(head | {"choices": [choice], "usage": self._usage(answer)}), bool(reply.tool_calls))
        yield Frame(sse("[DONE]"))

    def error(self, status: int, message: str) -> Any:
        kind = {429: "rate_limited", 400: "invalid_request_error"}.get(status, "internal_server_error")
        return {"object": "error", "message": message, "type": kind, "param": None, "code": str(status)}

    def _head(self, answer: Answer, kind: str) -> dict[str, Any]:
        return {
            "id": answer.token,
            "object": kind,
            "created": answer.created,
            "model": answer.request.model,
        }

    def _usage(self, answer: Answer) -> dict[str, Any]:
        spent = answer.usage
        said: dict[str, Any] = {
            "prompt_tokens": spent.input,
            "completion_tokens": spent.output,
            "total_tokens": spent.input + spent.output,
        }
        if spent.cached:
            said["num_cached_tokens"] = spent.cached
            said["prompt_tokens_details"] = {"cached_tokens": spent.cached}
        return said


def function_call(call: ToolCall) -> dict[str, Any]:
    """A tool call in a message."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.json}}


def _thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _finish(answer: Answer) -> str:
    if answer.reply.tool_calls and answer.reply.finish == "stop":
        return "tool_calls"
    return answer.reply.finish


def _message(message: dict[str, Any]) -> Message:
    role, text = message["role"], text_of(message.get("content"))
    if role == "tool":
        return Message("tool", results=((str(message.get("tool_call_id")), text),))
    if role == "assistant":
        calls = tuple(
            ToolCall(
                call["function"]["name"], arguments_of(call["function"]["arguments"]), call.get("id") or ""
            )
            for call in message.get("tool_calls") or ()
            if "function" in call
        )
        return Message("assistant", text, calls)
    return Message("system" if role in ("system", "developer") else "user", text)
