"""The same small agent in the plain SDK of every provider, for tests that have to do with what is on the wire.

    for sdk in SDKS: sdk.available(); sdk.agent(provider); sdk.stream(provider) ...

The agent asks "What is a lease?", makes the tool calls it is asked for (`TOOLS`) and returns the final text.
Clients retry as their SDK does, but at once.
"""

from __future__ import annotations

from sdk_base import QUESTION, City, Sdk
from sdk_openai import Mistral, OpenAIChat, OpenAIResponses
from sdk_others import Anthropic, Bedrock, Gemini

__all__ = [
    "QUESTION",
    "SDKS",
    "Anthropic",
    "Bedrock",
    "City",
    "Gemini",
    "Mistral",
    "OpenAIChat",
    "OpenAIResponses",
    "Sdk",
]

SDKS: list[Sdk] = [OpenAIChat(), OpenAIResponses(), Anthropic(), Gemini(), Mistral(), Bedrock()]
