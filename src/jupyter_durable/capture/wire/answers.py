"""What a model answered, gathered from the events of its response: one function for each API.

Each takes an `Answer` and an event and adds to it; what it does not know it leaves alone. A whole JSON response
is one event.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Answer:
    """`usage` is the provider's own; `finished`: nothing comes after what was seen."""

    text: list[str] = field(default_factory=list)
    model: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    finish: str | None = None
    tools: list[str] = field(default_factory=list)
    finished: bool = False
    error: str | None = None

    def add(self, text: Any) -> None:
        """More of the answer's text: a string, or parts that have one."""
        if isinstance(text, str):
            self.text.append(text)
        elif isinstance(text, list):
            for part in text:
                if isinstance(part, dict) and part.get("type", "text") in ("text", "output_text", "refusal"):
                    self.add(part.get("text") or part.get("refusal"))

    def tool(self, name: Any) -> None:
        """A tool the model asks for."""
        if isinstance(name, str) and name:
            self.tools.append(name)

    def used(self, usage: Any) -> None:
        """The tokens used so far; later reports complete earlier ones."""
        if isinstance(usage, dict):
            self.usage.update({key: value for key, value in usage.items() if value is not None})


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _failed(answer: Answer, data: dict[str, Any]) -> None:
    if (error := data.get("error")) is not None:
        answer.error = str(_dict(error).get("message") or error)[:200]


def chat(answer: Answer, event: str, data: Any) -> None:
    """Chat completions, plain completions and embeddings, whole or in chunks."""
    if data == "[DONE]":
        answer.finished = True
        return
    data = _dict(data)
    _failed(answer, data)
    answer.model = data.get("model") or answer.model
    answer.used(data.get("usage"))
    answer.used(_dict(data.get("x_groq")).get("usage"))
    for choice in _dicts(data.get("choices")):
        answer.used(choice.get("usage"))
        message = _dict(choice.get("delta")) or _dict(choice.get("message"))
        if not choice.get("index"):  # of several answers, the first
            answer.add(message.get("content") or message.get("refusal") or choice.get("text"))
        for call in _dicts(message.get("tool_calls")):
            answer.tool(_dict(call.get("function")).get("name") or _dict(call.get("custom")).get("name"))
        answer.tool(_dict(message.get("function_call")).get("name"))
        answer.finish = choice.get("finish_reason") or answer.finish


_RESPONSE_ENDS = frozenset(
    ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
)


def responses(answer: Answer, event: str, data: Any) -> None:
    """OpenAI responses."""
    data = _dict(data)
    kind = data.get("type")
    if kind in ("response.output_text.delta", "response.refusal.delta"):
        answer.add(data.get("delta"))
    elif kind == "response.output_item.done":
        _response_item(answer, _dict(data.get("item")), text=False)
    elif kind == "error":
        answer.error = str(data.get("message") or _dict(data.get("error")).get("message") or data)[:200]
    elif data.get("object") == "response":
        for item in _dicts(data.get("output")):
            _response_item(answer, item, text=True)
        _response(answer, data)
    elif isinstance(data.get("response"), dict):
        _response(answer, data["response"])
        answer.finished = answer.finished or kind in _RESPONSE_ENDS
    else:
        _failed(answer, data)


def _response(answer: Answer, response: dict[str, Any]) -> None:
    answer.model = response.get("model") or answer.model
    answer.used(response.get("usage"))
    _failed(answer, response)
    if response.get("status") in ("completed", "incomplete", "failed", "cancelled"):
        reason = _dict(response.get("incomplete_details")).get("reason")
        answer.finish = reason or response["status"]


def _response_item(answer: Answer, item: dict[str, Any], *, text: bool) -> None:
    if item.get("type") == "message" and text:
        answer.add(item.get("content"))
    elif item.get("type") in ("function_call", "custom_tool_call", "mcp_call"):
        answer.tool(item.get("name"))


def messages(answer: Answer, event: str, data: Any) -> None:
    """Anthropic messages."""
    data = _dict(data)
    kind = data.get("type")
    if kind in ("message", "message_start"):
        message = data if kind == "message" else _dict(data.get("message"))
        answer.model = message.get("model") or answer.model
        answer.used(message.get("usage"))
        answer.finish = message.get("stop_reason") or answer.finish
        for block in _dicts(message.get("content")):
            _message_block(answer, block)
    elif kind == "content_block_start":
        _message_block(answer, _dict(data.get("content_block")))
    elif kind == "content_block_delta":
        answer.add(_dict(data.get("delta")).get("text"))
    elif kind == "message_delta":
        answer.finish = _dict(data.get("delta")).get("stop_reason") or answer.finish
        answer.used(data.get("usage"))
    elif kind == "message_stop":
        answer.finished = True
    else:
        _failed(answer, data)


def _message_block(answer: Answer, block: dict[str, Any]) -> None:
    if block.get("type") == "text":
        answer.add(block.get("text"))
    elif block.get("type") in ("tool_use", "server_tool_use", "mcp_tool_use"):
        answer.tool(block.get("name"))


def gemini(answer: Answer, event: str, data: Any) -> None:
    """Gemini, and Gemini on Vertex."""
    data = _dict(data)
    _failed(answer, data)
    answer.model = data.get("modelVersion") or answer.model
    answer.used(data.get("usageMetadata"))
    for candidate in _dicts(data.get("candidates")):
        for part in _dicts(_dict(candidate.get("content")).get("parts")):
            if not part.get("thought") and not candidate.get("index"):
                answer.add(part.get("text"))
            answer.tool(_dict(part.get("functionCall")).get("name"))
        if candidate.get("finishReason"):
            answer.finish = candidate["finishReason"]
            answer.finished = True


def interactions(answer: Answer, event: str, data: Any) -> None:
    """Gemini interactions."""
    data = _dict(data)
    kind = data.get("event_type", event)
    if kind == "step.delta":
        delta = _dict(data.get("delta"))
        if delta.get("type") == "text":
            answer.add(delta.get("text"))
    elif kind == "step.start":
        _interaction_step(answer, _dict(data.get("step")))
    elif isinstance(data.get("interaction"), dict):
        _interaction(answer, data["interaction"])
        answer.finished = answer.finished or kind in ("interaction.completed", "interaction.cancelled")
    elif isinstance(data.get("steps"), list):
        for step in _dicts(data["steps"]):
            _interaction_step(answer, step)
        _interaction(answer, data)
    else:
        _failed(answer, data)


def _interaction(answer: Answer, data: dict[str, Any]) -> None:
    answer.model = data.get("model") or answer.model
    answer.used(data.get("usage"))
    if data.get("status") not in (None, "in_progress"):
        answer.finish = data["status"]


def _interaction_step(answer: Answer, step: dict[str, Any]) -> None:
    if step.get("type") == "model_output":
        answer.add(step.get("content"))
    elif step.get("type") == "function_call":
        answer.tool(step.get("name"))


def conversations(answer: Answer, event: str, data: Any) -> None:
    """Mistral conversations."""
    data = _dict(data)
    kind = data.get("type")
    answer.model = data.get("model") or answer.model
    if kind == "message.output.delta":
        content = data.get("content")
        answer.add([content] if isinstance(content, dict) else content)
    elif kind == "function.call.delta":
        if not answer.tools or answer.tools[-1] != data.get("name"):  # arguments come in pieces
            answer.tool(data.get("name"))
    elif kind == "conversation.response.done":
        answer.used(data.get("usage"))
        answer.finished = True
    elif data.get("object") == "conversation.response":
        for output in _dicts(data.get("outputs")):
            answer.model = output.get("model") or answer.model
            if output.get("type") == "function.call":
                answer.tool(output.get("name"))
            else:
                answer.add(output.get("content"))
        answer.used(data.get("usage"))
    elif kind == "conversation.response.error":
        answer.error = str(data.get("message") or data)[:200]
    else:
        _failed(answer, data)


def converse(answer: Answer, event: str, data: Any) -> None:
    """Bedrock converse, whole or as an event stream."""
    data = _dict(data)
    answer.used(data.get("usage"))
    answer.finish = data.get("stopReason") or answer.finish
    for block in _dicts(_dict(_dict(data.get("output")).get("message")).get("content")):
        answer.add(block.get("text"))
        answer.tool(_dict(block.get("toolUse")).get("name"))
    if event == "contentBlockStart":
        answer.tool(_dict(_dict(data.get("start")).get("toolUse")).get("name"))
    elif event == "contentBlockDelta":
        answer.add(_dict(data.get("delta")).get("text"))
    elif event == "metadata":  # after messageStop
        answer.finished = True
    elif event.endswith("Exception"):
        answer.error = str(data.get("message") or event)[:200]


def invoke(answer: Answer, event: str, data: Any) -> None:
    """Bedrock invoke: the model family's own format, in an event stream as base64."""
    data = _dict(data)
    if event.endswith("Exception"):
        answer.error = str(data.get("message") or event)[:200]
    if isinstance(data.get("bytes"), str):
        try:
            data = _dict(json.loads(base64.b64decode(data["bytes"])))
        except ValueError:
            return
    if isinstance(data.get("type"), str):
        messages(answer, event, data)
    elif "choices" in data:
        chat(answer, event, data)
    else:  # Nova speaks converse
        inner = next(
            (
                key
                for key in ("contentBlockStart", "contentBlockDelta", "messageStop", "metadata")
                if key in data
            ),
            "",
        )
        converse(answer, inner, data.get(inner, data) if inner else data)
    if metrics := _dict(data.get("amazon-bedrock-invocationMetrics")):
        answer.usage.setdefault("input_tokens", metrics.get("inputTokenCount"))
        answer.usage.setdefault("output_tokens", metrics.get("outputTokenCount"))
        answer.finished = True


def ollama(answer: Answer, event: str, data: Any) -> None:
    """Ollama's own chat and generate."""
    data = _dict(data)
    _failed(answer, data)
    message = _dict(data.get("message"))
    answer.model = data.get("model") or answer.model
    answer.add(message.get("content") or data.get("response"))
    for call in _dicts(message.get("tool_calls")):
        answer.tool(_dict(call.get("function")).get("name"))
    if data.get("done"):
        answer.used(
            {"prompt_tokens": data.get("prompt_eval_count"), "completion_tokens": data.get("eval_count")}
        )
        answer.finish = data.get("done_reason") or "stop"
        answer.finished = True


APIS: dict[str, Callable[[Answer, str, Any], None]] = {
    "chat": chat,
    "embeddings": chat,
    "responses": responses,
    "messages": messages,
    "gemini": gemini,
    "interactions": interactions,
    "conversations": conversations,
    "converse": converse,
    "invoke": invoke,
    "ollama": ollama,
}
