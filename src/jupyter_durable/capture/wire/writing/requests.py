"""A request with the conversation in it read, whatever the format it came in."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from jupyter_durable.capture.wire.writing.replies import ToolCall

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Message:
    """One message of a conversation. `results` maps the ids of tool calls to what the tools said."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    results: tuple[tuple[str, str], ...] = ()


@dataclass
class Request:
    """One request that came in, with the conversation in it read.

    `api` is the format: "openai.chat", "openai.responses", "mistral", "anthropic", "gemini", "bedrock", or "" for
    what is no model call. `body` is its JSON, `at` when it came (seconds since the epoch).
    Filled in when it has been answered: `status` (0 if the connection was closed instead) and `outcome`,
    "answered" (all of it was sent with 2xx), "fault", "cut" or "gone" (the client went away).
    """

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float
    api: str = ""
    model: str = ""
    stream: bool = False
    messages: list[Message] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    forced_tool: str = ""
    schema: Any = None
    status: int = 0
    outcome: Literal["", "answered", "fault", "cut", "gone"] = ""

    @property
    def turn(self) -> int:
        """How often the model has spoken in this conversation; a prefilled last message is not counted.

        Messages of the model that follow one another are one turn: some SDKs send a turn in parts.
        """
        roles = [message.role for message in self.messages] + ["user"]
        ends = sum(role == "assistant" != after for role, after in itertools.pairwise(roles))
        return ends - (roles[-2:-1] == ["assistant"])

    @property
    def prompt(self) -> str:
        """The text of the last message of the user."""
        return next((m.text for m in reversed(self.messages) if m.role == "user" and m.text), "")

    @property
    def system(self) -> str:
        """The system or developer messages."""
        return "\n".join(m.text for m in self.messages if m.role == "system")

    @property
    def results(self) -> dict[str, str]:
        """What tools have said since the model last spoke, by the id of the call."""
        found: dict[str, str] = {}
        for message in reversed(self.messages):
            if message.role == "assistant":
                break
            found = dict(message.results) | found
        return found

    @property
    def key(self) -> str:
        """A digest of the conversation and the model: equal for a request that is made again."""
        said = [
            (m.role, m.text, [(c.name, c.arguments) for c in m.tool_calls], m.results) for m in self.messages
        ]
        text = json.dumps([self.api, self.model, self.tools, said], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def unanswered(self) -> list[str]:
        """Ids of tool calls that the conversation leaves behind without a result, which providers refuse."""
        asked: dict[str, None] = {}
        for message in self.messages:
            if message.role == "assistant":
                asked.update((call.id, None) for call in message.tool_calls if call.id)
            for known, _ in message.results:
                asked.pop(known, None)
        return list(asked)

    def as_json(self) -> dict[str, Any]:
        """What `GET /_requests` says about it."""
        names = ("method", "path", "headers", "body", "at", "api", "model", "stream", "status", "outcome")
        return {name: getattr(self, name) for name in names} | {"turn": self.turn}
