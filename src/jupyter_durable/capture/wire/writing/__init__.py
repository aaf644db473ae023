"""The formats of model APIs, written: what a provider would send, one module each, and which of them a path belongs to.

    Reply, ToolCall   what is said               Request ── a request, with the conversation in it read
    Routes            whose format a path is     Wire ───── one format: `answer`, then `whole` or `frames`

Two speak for a model: `jupyter_durable.testing.FakeProvider`, and a person who says in a fork what the model
should have said (`jupyter_durable.session.answering`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from jupyter_durable.capture.wire.writing.anthropic import Anthropic
from jupyter_durable.capture.wire.writing.base import Wire
from jupyter_durable.capture.wire.writing.bedrock import Bedrock
from jupyter_durable.capture.wire.writing.gemini import Gemini
from jupyter_durable.capture.wire.writing.openai_chat import MistralChat, OpenAIChat
from jupyter_durable.capture.wire.writing.openai_responses import OpenAIResponses
from jupyter_durable.capture.wire.writing.requests import Request

__all__ = ["Routes"]


class Routes:
    """Which format a request is in. One instance a provider: some formats remember conversations.

    What comes before the last parts of the path is free, so that a base URL may be that of any compatible provider.
    """

    def __init__(self) -> None:
        chat, mistral = OpenAIChat(), MistralChat()

        def chat_or_mistral(request: Request) -> Wire:
            from_mistral = "mistral" in request.headers.get("user-agent", "")
            return mistral if from_mistral or request.path.startswith("/mistral/") else chat

        responses, anthropic, gemini, bedrock = OpenAIResponses(), Anthropic(), Gemini(), Bedrock()
        self._routes: list[tuple[re.Pattern[str], Callable[[Request], Wire]]] = [
            (re.compile(r"/chat/completions$"), chat_or_mistral),
            (re.compile(r"/responses$"), lambda _: responses),
            (re.compile(r"/messages$"), lambda _: anthropic),
            (
                re.compile(r"/models/(?P<model>[^/]+):(?P<verb>generateContent|streamGenerateContent)$"),
                lambda _: gemini,
            ),
            (
                re.compile(r"^/model/(?P<model>[^/]+)/(?P<verb>converse|converse-stream)$"),
                lambda _: bedrock,
            ),
        ]

    def find(self, request: Request) -> tuple[Wire, dict[str, str]] | None:
        """The format of a POST, and what its path says; None if it is no model call."""
        path = request.path.partition("?")[0]
        for pattern, wire in self._routes:
            if found := pattern.search(path):
                return wire(request), found.groupdict()
        return None
