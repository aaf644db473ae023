"""Tokens in one vocabulary: what each provider calls them, and what they are called here."""

from __future__ import annotations

from typing import Any, NamedTuple


class Tokens(NamedTuple):
    """`input` holds `cached`, `output` holds `reasoning`; None where the provider does not say."""

    input: int | None
    output: int | None
    cached: int | None
    reasoning: int | None


def tokens(usage: dict[str, Any]) -> Tokens:
    """A provider's usage, whichever it is.

    >>> tokens({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}})
    Tokens(input=9, output=2, cached=4, reasoning=None)
    """
    if "promptTokenCount" in usage or "totalTokenCount" in usage:  # Gemini
        thoughts = _int(usage, "thoughtsTokenCount")
        return Tokens(
            _sum(_int(usage, "promptTokenCount"), _int(usage, "toolUsePromptTokenCount")),
            _sum(_int(usage, "candidatesTokenCount"), thoughts),
            _int(usage, "cachedContentTokenCount"),
            thoughts,
        )
    if "inputTokens" in usage:  # Bedrock: what the cache read and wrote comes on top
        read = _int(usage, "cacheReadInputTokens")
        given = _sum(_int(usage, "inputTokens"), read, _int(usage, "cacheWriteInputTokens"))
        return Tokens(given, _int(usage, "outputTokens"), read, None)
    if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:  # Anthropic: the same
        read = _int(usage, "cache_read_input_tokens")
        given = _sum(_int(usage, "input_tokens"), read, _int(usage, "cache_creation_input_tokens"))
        thought = _inner(usage, "output_tokens_details", "thinking_tokens")
        return Tokens(given, _int(usage, "output_tokens"), read, thought)
    if "total_input_tokens" in usage:  # Gemini interactions
        thoughts = _int(usage, "total_thought_tokens")
        return Tokens(
            _sum(_int(usage, "total_input_tokens"), _int(usage, "total_tool_use_tokens")),
            _sum(_int(usage, "total_output_tokens"), thoughts),
            _int(usage, "total_cached_tokens"),
            thoughts,
        )
    if "prompt_tokens" in usage:
        cached = _inner(usage, "prompt_tokens_details", "cached_tokens")
        if cached is None:
            cached = _int(usage, "prompt_cache_hit_tokens")  # DeepSeek
        reasoning = _inner(usage, "completion_tokens_details", "reasoning_tokens")
        return Tokens(_int(usage, "prompt_tokens"), _int(usage, "completion_tokens"), cached, reasoning)
    return Tokens(
        _int(usage, "input_tokens"),
        _int(usage, "output_tokens"),
        _inner(usage, "input_tokens_details", "cached_tokens"),
        _inner(usage, "output_tokens_details", "reasoning_tokens"),
    )


def _int(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _inner(usage: dict[str, Any], name: str, inner: str) -> int | None:
    details = usage.get(name)
    return _int(details, inner) if isinstance(details, dict) else None


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
