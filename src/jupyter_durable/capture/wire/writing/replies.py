"""What a model says: text, tool calls, thoughts, and the tokens it took. Plain frozen values, in no provider's format."""

from __future__ import annotations

import json as _json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Finish = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True)
class ToolCall:
    """The model asks for a call of the tool `name`. `id` is given when it is served."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    id: str = ""

    @property
    def json(self) -> str:
        """The arguments as the model writes them."""
        return _json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True)
class Usage:
    """Tokens. `cached` and `cache_write` are parts of `input`, `reasoning` of `output`.

    Every format says the same in its own way: where input excludes what was cached (Anthropic, Bedrock), or
    output excludes thoughts (Gemini), it is subtracted.
    """

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0

    @property
    def fresh(self) -> int:
        """Input tokens that no cache had to do with."""
        return self.input - self.cached - self.cache_write


@dataclass(frozen=True)
class Reply:
    """One answer of the model. Made by `reply`."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    thinking: str = ""
    is_json: bool = False
    usage: Usage | None = None
    finish: Finish = "stop"
    pieces: tuple[str, ...] = ()

    @property
    def chunks(self) -> tuple[str, ...]:
        """The text in the pieces in which it is streamed."""
        return self.pieces or words(self.text)


def reply(
    text: str = "",
    *,
    tool_calls: Iterable[ToolCall] = (),
    json: Any = None,
    thinking: str = "",
    usage: Usage | None = None,
    finish: Finish = "stop",
    pieces: Iterable[str] = (),
) -> Reply:
    """The model says `text`, asks for `tool_calls` (several are parallel calls), or both.

    `json` is for structured output: its text is that value, and if the request forces a tool to be called instead, as
    some SDKs do for structured output, the value becomes the arguments of that call. `thinking` comes
    before the text, where the format has a place for it. `usage` is counted from the words if it is left out.
    `finish="length"` says that the model ran out of tokens. `pieces` are the chunks of a stream, by
    default the words; if given, they are the text.

    >>> reply("Hello there").chunks
    ('Hello ', 'there')
    >>> reply(json={"n": 1}).text
    '{"n": 1}'
    """
    given = tuple(pieces)
    if json is not None:
        text = _json.dumps(json, ensure_ascii=False)
    elif given:
        text = "".join(given)
    return Reply(text, tuple(tool_calls), thinking, json is not None, usage, finish, given)


def call(name: str, /, **arguments: Any) -> ToolCall:
    """One tool call in a reply: `call("search", q="leases")`."""
    return ToolCall(name, arguments)


def usage(
    input: int,  # noqa: A002 - the word every provider uses
    output: int,
    *,
    cached: int = 0,
    cache_write: int = 0,
    reasoning: int = 0,
) -> Usage:
    """Token counts of a reply; `cached` and `cache_write` are parts of `input`, `reasoning` of `output`."""
    return Usage(input, output, cached, cache_write, reasoning)


def words(text: str) -> tuple[str, ...]:
    """`text` in words, each with the space after it.

    >>> words("one  two")
    ('one  ', 'two')
    """
    return tuple(re.findall(r"\s*\S+\s*|\s+", text))


def fragments(text: str, size: int = 8) -> list[str]:
    """`text` in pieces of `size` characters, as tool arguments are streamed."""
    return [text[at : at + size] for at in range(0, len(text), size)]
