"""Which model API a request speaks, told by its path and the shape of its body, on any host.

What is left out of a model call's identity, so that another provider, model or client library of the same
format is answered from the journal:

| left out | because |
|---|---|
| host, path, `api-version` | the same format is served in many places |
| `model` | who answers; asking another model is an edit that leaves the answers already there alone |
| `stream_options` | an extra event with the usage |
| `user`, `safety_identifier`, `metadata`, `labels`, `requestMetadata` | who asks, often a session's id |
| `prompt_cache_key`, `prompt_cache_retention`, `service_tier`, `performanceConfig` | how fast, not what |
| `provider`, `models`, `route`, `usage` | OpenRouter's choice among providers |
| `anthropic_version`, `anthropic_beta` | versions, which clouds take in the body |

`stream` stays: the bytes of a streamed answer are no answer to a call that did not ask for a stream. All that
shapes the answer stays, too: messages, tools, sampling, limits, `store`, `previous_response_id`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote

from jupyter_durable.capture.wire.providers import provider_of

_KNOBS = """
    model stream stream_options user safety_identifier metadata labels requestMetadata prompt_cache_key
    prompt_cache_retention service_tier performanceConfig provider models route usage anthropic_version anthropic_beta
"""
_LEFT_OUT = frozenset(_KNOBS.split())

_GEMINI = re.compile(
    r"/(?:models|tunedModels|publishers/google/models|endpoints)/([^/:]+):"
    r"(generateContent|streamGenerateContent|embedContent|batchEmbedContents)$"
)
_VERTEX_RAW = re.compile(
    r"/publishers/(?:anthropic|mistralai)/models/([^/:]+):(rawPredict|streamRawPredict)$"
)
_BEDROCK = re.compile(r"/model/([^/]+)/(converse|converse-stream|invoke|invoke-with-response-stream)$")
_CONVERSATIONS = re.compile(r"/conversations(/[^/]+(/restart)?)?$")
_AZURE = re.compile(r"/openai/deployments/([^/]+)/")


class Format(NamedTuple):
    """A recognised API: `name` is the step's, `api` the reader's; `identity` is what the digest covers."""

    name: str
    api: str
    provider: str | None
    model: str | None
    identity: dict[str, Any]


def recognise(method: str, parts: SplitResult, body: Any) -> Format | None:
    """The model API a request speaks, or None: any other HTTP exchange. `body` is parsed and scrubbed."""
    if method != "POST" or not isinstance(body, dict):
        return None
    path = parts.path.rstrip("/")
    found = _hosted(path, parts, body) or _common(path, body)
    if found is None:
        return None
    name, api, model, stream = found
    if model is None and isinstance(body.get("model"), str):
        model = body["model"]
    rest = {key: value for key, value in body.items() if key not in _LEFT_OUT}
    provider = provider_of(parts.hostname or "", path)
    return Format(name, api, provider, model, {"api": name, "stream": stream, "body": rest})


_Found = tuple[str, str, str | None, bool | str]


def _hosted(path: str, parts: SplitResult, body: dict[str, Any]) -> _Found | None:
    """APIs with the model in the path."""
    if found := _GEMINI.search(path):
        model, verb = unquote(found[1]), found[2]
        if verb in ("embedContent", "batchEmbedContents"):
            return ("gemini.embed", "gemini", model, False) if {"content", "requests"} & body.keys() else None
        if "contents" not in body:
            return None
        # Without `alt=sse` the stream is one JSON list.
        framing: bool | str = (
            False if verb == "generateContent" else "sse" if "alt=sse" in parts.query else "list"
        )
        return "gemini.generate", "gemini", model, framing
    if found := _BEDROCK.search(path):
        model, verb = unquote(found[1]), found[2]
        if verb.startswith("converse"):
            return ("bedrock.converse", "converse", model, verb != "converse") if "messages" in body else None
        return "bedrock.invoke", "invoke", model, verb != "invoke"
    if found := _VERTEX_RAW.search(path):
        if "anthropic_version" in body and "messages" in body:
            return "anthropic.messages", "messages", unquote(found[1]), found[2] == "streamRawPredict"
        return (
            ("openai.chat", "chat", unquote(found[1]), found[2] != "rawPredict")
            if "messages" in body
            else None
        )
    return None


def _common(path: str, body: dict[str, Any]) -> _Found | None:
    stream = body.get("stream") is True
    deployment = _AZURE.search(path)
    model = unquote(deployment[1]) if deployment and "model" not in body else None
    if path.endswith("/chat/completions") and isinstance(body.get("messages"), list):
        return "openai.chat", "chat", model, stream
    if path.endswith("/responses") and (
        "input" in body or "prompt" in body or "previous_response_id" in body
    ):
        return "openai.responses", "responses", model, stream
    if (
        path.endswith("/messages")
        and isinstance(body.get("messages"), list)
        and {"max_tokens", "model"} & body.keys()
    ):
        return "anthropic.messages", "messages", model, stream
    if path.endswith("/embeddings") and "input" in body:
        return "openai.embeddings", "embeddings", model, False
    if path.endswith("/fim/completions") and "prompt" in body:
        return "mistral.fim", "chat", model, stream
    if path.endswith("/agents/completions") and "messages" in body:
        return "mistral.agents", "chat", model, stream
    if path.endswith("/completions") and "prompt" in body:
        return "openai.completions", "chat", model, stream
    if path.endswith("/interactions") and "input" in body and {"model", "agent"} & body.keys():
        return "gemini.interactions", "interactions", model, stream
    if _CONVERSATIONS.search(path) and "inputs" in body:
        return "mistral.conversations", "conversations", model, stream
    if path.endswith("/api/chat") and isinstance(body.get("messages"), list):
        return "ollama.chat", "ollama", model, body.get("stream") is not False
    if path.endswith("/api/generate") and "prompt" in body:
        return "ollama.generate", "ollama", model, body.get("stream") is not False
    return None
