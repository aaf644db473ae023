"""What a tool answered, and how to say so to each provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool's answer, or its error in words that a model can act on.

    `content` is the text for the model; `value` what a function returned, or an MCP server's structured
    content. `blocks` are an MCP server's content blocks as JSON data (text, image, resource).

    >>> ToolResult("add", "3", 3).openai("call_1")
    {'role': 'tool', 'tool_call_id': 'call_1', 'content': '3'}
    """

    name: str
    content: str
    value: Any = None
    is_error: bool = False
    blocks: tuple[Mapping[str, Any], ...] = ()

    def openai(self, call_id: str) -> dict[str, Any]:
        """The message that answers a call of the chat completions API, and of everything compatible with it."""
        return {"role": "tool", "tool_call_id": call_id, "content": self.content}

    def openai_responses(self, call_id: str) -> dict[str, Any]:
        """The input item that answers a call of the responses API."""
        return {"type": "function_call_output", "call_id": call_id, "output": self.content}

    def anthropic(self, tool_use_id: str) -> dict[str, Any]:
        """The content block that answers a `tool_use` block; it goes into the next user message. With images."""
        images = [_image(block) for block in self.blocks if block.get("type") == "image"]
        content: Any = self.content
        if images:
            content = [*([{"type": "text", "text": self.content}] if self.content else []), *images]
        answer = {"type": "tool_result", "tool_use_id": tool_use_id, "content": content}
        return {**answer, "is_error": True} if self.is_error else answer

    def gemini(self) -> dict[str, Any]:
        """The part that answers a function call; it goes into the next user content."""
        response = {"error" if self.is_error else "result": self.content}
        return {"function_response": {"name": self.name, "response": response}}

    def __str__(self) -> str:
        return self.content


def _image(block: Mapping[str, Any]) -> dict[str, Any]:
    source = {"type": "base64", "media_type": block.get("mimeType", "image/png"), "data": block["data"]}
    return {"type": "image", "source": source}


def from_mcp(name: str, answer: Mapping[str, Any]) -> ToolResult:
    """The result in an MCP server's `tools/call` answer, given as JSON data.

    >>> from_mcp("add", {"content": [{"type": "text", "text": "3"}], "structuredContent": {"result": 3}}).value
    {'result': 3}
    """
    blocks = tuple(answer.get("content") or ())
    structured = answer.get("structuredContent")
    texts = [_text(block) for block in blocks]
    if not texts and structured is not None:
        import json

        texts = [json.dumps(structured, ensure_ascii=False)]
    content = "\n".join(text for text in texts if text)
    return ToolResult(name, content, structured, bool(answer.get("isError")), blocks)


def _text(block: Mapping[str, Any]) -> str:
    kind = block.get("type")
    if kind == "text":
        return str(block["text"])
    if kind == "resource":
        resource = block.get("resource") or {}
        return str(resource.get("text") or f"[resource {resource.get('uri', '')}]")
    if kind == "resource_link":
        return f"[resource {block.get('uri', '')}]"
    return f"[{kind} {block.get('mimeType', '')}]".replace(" ]", "]")
