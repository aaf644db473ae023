"""Requests recognised on the wire: what a call is, and what does not tell two calls apart."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from jupyter_durable.capture.wire import Described, describe, is_attempt, scrub_headers, secret_headers

JSON = [("Content-Type", "application/json")]
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = {"model": "claude-sonnet-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


def post(url: str, body: Any, headers: Any = JSON) -> Described:
    """A described POST."""
    found = describe("post", url, headers, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("url", "body", "name", "provider", "model"),
    [
        ("https://api.openai.com/v1/chat/completions", CHAT, "openai.chat", "openai", "gpt-4o"),
        ("https://api.openai.com/v1/responses", {"model": "gpt-5", "input": "hi"}, "openai.responses", "openai", "gpt-5"),
        ("https://api.openai.com/v1/embeddings", {"model": "e", "input": ["a"]}, "openai.embeddings", "openai", "e"),
        (
            "https://me.openai.azure.com/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
            {"messages": CHAT["messages"]},
            "openai.chat",
            "azure",
            "my gpt",
        ),
        ("https://me.openai.azure.com/openai/v1/responses", {"model": "d", "input": "a"}, "openai.responses", "azure", "d"),
        ("https://api.groq.com/openai/v1/chat/completions", CHAT, "openai.chat", "groq", "gpt-4o"),
        ("https://api.deepseek.com/chat/completions", CHAT, "openai.chat", "deepseek", "gpt-4o"),
        ("https://openrouter.ai/api/v1/chat/completions", CHAT, "openai.chat", "openrouter", "gpt-4o"),
        ("https://api.together.xyz/v1/chat/completions", CHAT, "openai.chat", "together", "gpt-4o"),
        ("https://api.mistral.ai/v1/chat/completions", CHAT, "openai.chat", "mistral", "gpt-4o"),
        ("http://127.0.0.1:8080/v1/chat/completions", CHAT, "openai.chat", "local", "gpt-4o"),
        ("http://[::1]:8080/v1/chat/completions", CHAT, "openai.chat", "local", "gpt-4o"),
        ("https://llm.example.com/v1/chat/completions", CHAT, "openai.chat", None, "gpt-4o"),
        (
            "https://router.huggingface.co/together/v1/chat/completions",
            CHAT,
            "openai.chat",
            "huggingface_together",
            "gpt-4o",
        ),
        ("https://api.anthropic.com/v1/messages?beta=true", MESSAGES, "anthropic.messages", "anthropic", "claude-sonnet-4-5"),
        (
            "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict",
            {"anthropic_version": "vertex-2023-10-16", "messages": [], "max_tokens": 1, "stream": True},
            "anthropic.messages",
            "google",
            "claude-sonnet-4-5@20250929",
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent",
            GEMINI,
            "gemini.generate",
            "google",
            "gemini-2.5-flash",
        ),
        (
            "https://aiplatform.googleapis.com/v1beta1/projects/p/locations/global/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            GEMINI,
            "gemini.generate",
            "google",
            "gemini-2.5-pro",
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/interactions",
            {"model": "gemini-2.5-flash", "input": "hi"},
            "gemini.interactions",
            "google",
            "gemini-2.5-flash",
        ),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse",
            CONVERSE,
            "bedrock.converse",
            "aws",
            "anthropic.claude-3-5-sonnet-20240620-v1:0",
        ),
        (
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke-with-response-stream",
            {"anthropic_version": "bedrock-2023-05-31", "messages": [], "max_tokens": 1},
            "bedrock.invoke",
            "aws",
            "m",
        ),
        ("https://api.mistral.ai/v1/fim/completions", {"model": "codestral", "prompt": "a"}, "mistral.fim", "mistral", "codestral"),
        ("https://api.mistral.ai/v1/conversations", {"model": "m", "inputs": "a"}, "mistral.conversations", "mistral", "m"),
        ("http://localhost:11434/api/chat", {"model": "llama3", "messages": []}, "ollama.chat", "local", "llama3"),
    ],
)  # fmt: skip
def test_model_apis(url: str, body: Any, name: str, provider: str | None, model: str) -> None:
    """Each API is recognised on every host that speaks it; what was asked is kept as it was."""
    found = post(url, body)
    assert (found.kind, found.name, found.provider, found.model) == ("model", name, provider, model)
    assert found.shown["body"] == body


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("GET", "https://api.openai.com/v1/models", b""),
        ("POST", "https://api.openai.com/v1/files", b"not json"),
        ("POST", "https://chat.example.com/v1/messages", b'{"text": "hi"}'),
        ("POST", "https://example.com/completions", b'{"q": 1}'),
        ("POST", "https://api.anthropic.com/v1/messages/batches", b'{"requests": []}'),
        ("POST", "https://example.com/v1/chat/completions", b"[1]"),
    ],
)
def test_what_is_no_model_call_is_http(method: str, url: str, body: bytes) -> None:
    """A path alone does not make a model call, nor does a body."""
    found = describe(method, url, JSON, body)
    assert found is not None
    assert found.kind == "http"
    assert found.name.startswith(f"{method} {url.partition('://')[2].partition('/')[0]}/")


def test_another_provider_model_or_client_is_the_same_call() -> None:
    """Swapping provider, model or client library in one format replays what was answered."""
    here = post("https://api.openai.com/v1/chat/completions", CHAT)
    there = post(
        "https://me.openai.azure.com/openai/deployments/d/chat/completions?api-version=2",
        {
            **CHAT,
            "model": "deepseek-chat",
            "stream": False,
            "user": "u",
            "metadata": {"session": "1"},
            "prompt_cache_key": "k",
            "service_tier": "flex",
            "stream_options": {"include_usage": True},
        },
        [*JSON, ("Authorization", "Bearer another")],
    )
    assert (here.kind, here.name, here.identity) == (there.kind, there.name, there.identity)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": []},
        {"stream": True},
        {"temperature": 0},
        {"tools": []},
        {"max_tokens": 5},
        {"store": True},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_what_shapes_the_answer_tells_calls_apart(change: dict[str, Any]) -> None:
    """All that may change the answer is part of the call."""
    url = "https://api.openai.com/v1/chat/completions"
    assert post(url, CHAT).identity != post(url, CHAT | change).identity


def test_gemini_streams_are_told_apart_by_their_framing() -> None:
    """The bytes of one framing are no answer to a call for another."""
    base = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash"
    urls = [
        f"{base}:generateContent",
        f"{base}:streamGenerateContent",
        f"{base}:streamGenerateContent?alt=sse",
    ]
    found = [json.dumps(post(url, GEMINI).identity) for url in urls]
    assert len(set(found)) == 3


def test_a_conversation_that_grows_is_data_that_grows() -> None:
    """JSON is kept parsed, so that the store can share what two turns have in common."""
    url = "https://api.openai.com/v1/chat/completions"
    first = post(url, CHAT)
    longer = post(url, {**CHAT, "messages": [*CHAT["messages"], {"role": "assistant", "content": "hello"}]})
    assert longer.shown["body"]["messages"][:1] == first.shown["body"]["messages"]


def test_http_identity() -> None:
    """Method, address without its fragment, body, and the few headers that ask for something else."""
    found = describe("get", "https://H.example:8443/a/b?y=2&x=1#top", [("Range", "bytes=0-9")], b"")
    assert found is not None
    assert found.name == "GET h.example:8443/a/b"
    assert found.identity == {
        "method": "GET",
        "url": "https://h.example:8443/a/b?y=2&x=1",
        "body": None,
        "headers": {"range": "bytes=0-9"},
    }
    other = describe("get", "https://h.example:8443/a/b?y=2&x=1", [("range", "bytes=10-19")], b"")
    assert other is not None
    assert other.identity != found.identity


def test_operations_of_aws_are_told_apart() -> None:
    """AWS says in a header what is to be done."""
    calls = [
        describe("POST", "https://dynamodb.eu-west-1.amazonaws.com/", [("X-Amz-Target", target)], b"{}")
        for target in ("DynamoDB.GetItem", "DynamoDB.DeleteItem")
    ]
    assert calls[0] is not None
    assert calls[1] is not None
    assert calls[0].identity != calls[1].identity


def multipart(boundary: str, *, quoted: bool = False) -> Described:
    """A form with a field, a secret and a file."""
    lines = [
        f"--{boundary}",
        'Content-Disposition: form-data; name="purpose"',
        "",
        "assistants",
        f"--{boundary}",
        'Content-Disposition: form-data; name="api_key"',
        "",
        "very-secret",
        f"--{boundary}",
        'Content-Disposition: form-data; name="file"; filename="a.bin"',
        "Content-Type: application/octet-stream",
        "",
        "",
    ]
    body = "\r\n".join(lines).encode() + b"\x00\r\n\xff--x" + f"\r\n--{boundary}--\r\n".encode()
    shown = f'"{boundary}"' if quoted else boundary
    return post("https://h.example/files", body, [("content-type", f"multipart/form-data; boundary={shown}")])


def test_multipart_bodies_are_recognised_whatever_their_boundary() -> None:
    """The boundary is random; parts, names and types are not."""
    found = multipart("aaaa1111")
    assert found.identity == multipart("bbbb-2222", quoted=True).identity
    assert found.shown["body"] == [
        {"name": "purpose", "value": "assistants"},
        {"name": "api_key", "value": "•••"},
        {
            "name": "file",
            "value": b"\x00\r\n\xff--x",
            "filename": "a.bin",
            "type": "application/octet-stream",
        },
    ]


def test_multipart_as_httpx_writes_it() -> None:
    """Two clients' bodies of one form are one call."""
    import httpx

    found = []
    for _ in range(2):
        request = httpx.Request(
            "POST", "https://h.example/f", data={"a": "ä"}, files={"file": ("ü.txt", b"\r\n\r\nx\r\n")}
        )
        found.append(post("https://h.example/f", request.read(), list(request.headers.items())))
    assert found[0].identity == found[1].identity
    assert [part["value"] for part in found[0].shown["body"]] == ["ä", "\r\n\r\nx\r\n"]


def test_forms_and_compressed_bodies() -> None:
    """Forms are parsed, compression is undone, and what breaks is part of the identity as it is."""
    form = post(
        "https://h.example/f", b"a=1&b=%C3%A4&a=2", [("content-type", "application/x-www-form-urlencoded")]
    )
    assert form.shown["body"] == {"a": ["1", "2"], "b": "ä"}
    packed = post("https://h.example/f", gzip.compress(b'{"a": 1}'), [*JSON, ("Content-Encoding", "gzip")])
    assert packed.shown["body"] == {"a": 1}
    broken = post("https://h.example/f", b"\x1f\x8bno", [*JSON, ("Content-Encoding", "gzip")])
    assert broken.shown["body"] == "<4 bytes, gzip>"  # nor could it be searched for secrets
    assert broken.identity["body"] == b"\x1f\x8bno"


def test_text_and_bytes_stay_what_they_are() -> None:
    """What does not parse is text or bytes."""
    assert post("https://h.example/", b"{broken").shown["body"] == "{broken"
    assert post("https://h.example/", b"\xff\xfe", []).shown["body"] == b"\xff\xfe"


def test_attempts() -> None:
    """Time-outs, conflicts, rate limits and server errors are tries that failed."""
    assert [status for status in range(200, 600) if is_attempt(status) and status < 500] == [408, 409, 429]
    assert all(is_attempt(status) for status in (500, 502, 503, 504, 529))


def test_headers_of_a_response() -> None:
    """Cookies, tokens and signed redirects are not kept in the clear."""
    headers = [
        ("Content-Type", "text/event-stream"),
        ("Set-Cookie", "session=abc"),
        ("x-ratelimit-remaining-tokens", "12"),
        ("X-Auth-Token", "abc"),
        ("Location", "https://s3.example/x?X-Amz-Signature=abc"),
    ]
    assert [name for name, _ in scrub_headers(headers)] == ["Content-Type", "x-ratelimit-remaining-tokens"]
    assert [name for name, _ in secret_headers(headers)] == ["Set-Cookie", "X-Auth-Token", "Location"]
    plain = [("Location", "https://h.example/next?page=2")]
    assert scrub_headers(plain) == plain
