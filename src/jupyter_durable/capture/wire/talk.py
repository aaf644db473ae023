"""A model's request as people read it: who said what, in every format the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Message(NamedTuple):
    """`role`: system, user, assistant, tool, or what the provider calls it."""

    role: str
    text: str


def messages(api: str | None, body: Any) -> list[Message]:
    """What the request of a model API says, in order. `body` is parsed; what is not known is left out.

    >>> messages("chat", {"messages": [{"role": "user", "content": "hi"}]})
    [Message(role='user', text='hi')]
    """
    if not isinstance(body, dict):
        return []
    return [message for message in _READ.get(api or "", _said)(body) if message.text]


def _said(body: dict[str, Any]) -> list[Message]:
    """OpenAI chat, Anthropic, Bedrock, Mistral, Ollama: `system`, `messages`, or a `prompt`."""
    found = [Message("system", content(body["system"]))] if "system" in body else []
    for message in _dicts(body.get("messages")):
        calls = "".join(
            f"\n{_call(_dict(call.get('function')))}" for call in _dicts(message.get("tool_calls"))
        )
        text = content(message.get("content")) + calls
        found.append(Message(str(message.get("role", "")), text.strip("\n")))
    asked = [body[name] for name in ("prompt", "input", "inputs") if name in body]
    return [*found, *(Message("user", content(each)) for each in asked)]


def _responses(body: dict[str, Any]) -> list[Message]:
    told = body.get("instructions") or body.get("system_instruction")
    found = [Message("system", content(told))] if told else []
    given = body.get("input", body.get("inputs"))
    if isinstance(given, str):
        return [*found, Message("user", given)]
    for item in _dicts(given):
        kind = item.get("type", "message")
        if kind in ("function_call", "custom_tool_call", "function.call"):
            found.append(Message("assistant", _call(item)))
        elif kind in (
            "function_call_output",
            "custom_tool_call_output",
            "function.result",
            "function_result",
        ):
            found.append(Message("tool", content(item.get("output", item.get("result")))))
        else:
            role = {"model_output": "assistant", "message.output": "assistant"}.get(
                kind, item.get("role", "user")
            )
            found.append(Message(str(role), content(item.get("content", item.get("text")))))
    return found


def _gemini(body: dict[str, Any]) -> list[Message]:
    told = _dict(body.get("systemInstruction") or body.get("system_instruction"))
    found = [Message("system", content(told.get("parts")))] if told else []
    for item in _dicts(body.get("contents")):
        role = "assistant" if item.get("role") == "model" else str(item.get("role", "user"))
        found.append(Message(role, content(item.get("parts"))))
    return found


def content(value: Any) -> str:
    """A message's content, whichever form it has: text, parts, calls of tools and their results."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(content, value)))
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    for name in ("text", "refusal", "thinking"):
        if isinstance(value.get(name), str):
            return str(value[name])
    for name in ("toolUse", "functionCall"):
        if name in value:
            return _call(_dict(value[name]))
    if value.get("type") in ("tool_use", "server_tool_use"):
        return _call(value)
    for name in ("toolResult", "functionResponse"):
        if name in value:
            inner = _dict(value[name])
            return f"→ {content(inner.get('content', inner.get('response')))}"
    if value.get("type") == "tool_result":
        return f"→ {content(value.get('content'))}"
    if "json" in value:
        return _json(value["json"])
    kind = value.get("type") or next(iter(value), "part")
    return f"<{kind}>" if isinstance(value.get("type"), str) or len(value) == 1 else _json(value)


def _call(call: dict[str, Any]) -> str:
    given = call.get("arguments", call.get("input", call.get("args", {})))
    return f"{call.get('name', 'a tool')}({given if isinstance(given, str) else _json(given)})"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


_READ: dict[str, Callable[[dict[str, Any]], list[Message]]] = {
    "responses": _responses,
    "interactions": _responses,
    "conversations": _responses,
    "gemini": _gemini,
}
