"""A scripted model server on loopback, faithful on the wire: real SDKs talk to it and cannot tell.

    with FakeProvider([
        reply("Let me look.", tool_calls=[call("search", q="leases")]),   # the first turn
        fault(429, retry_after=0.1, times=2),                            # the second is refused twice,
        reply("A lease is a lock that expires."),                        # then given
    ]) as provider:
        client = openai.OpenAI(base_url=provider.openai_base, api_key="fake")
        ...
        assert provider.hits == 2 and provider.attempts == 4

It speaks OpenAI Chat Completions and Responses (so Groq, DeepSeek, OpenRouter and local servers, too),
Anthropic Messages, Gemini, Mistral and Bedrock Converse, each plain and streamed, all on one port:
`openai_base`, `anthropic_base`, `gemini_base`, `mistral_base`, `bedrock_base`; or put `environment` into `os.environ`.

A script is one of
    "text" or reply(...)      the answer to everything
    [reply, reply, ...]       turns: the n-th reply follows the n-th time the model has spoken in the conversation.
                              It does not count calls, so a call that is made again gets the same reply again
    function(request)         returns a reply, or a list of troubles with a reply at its end; `Request` has `.prompt`,
                              `.turn`, `.results`, `.tools`, `.schema`, `.messages`, `.body`, ...
    in_order([...])           the n-th request gets the n-th reply, for agents without a conversation

Troubles stand before the reply that they disturb. The same request (equal model, conversation, tools) meets each of them
`times` times, so a test has the same result in whatever order calls happen to arrive:
    fault(429, retry_after=1) an error in the provider's own shape; fault(529, after=3): in the middle of a stream
    cut(after=3)              the connection ends after three chunks of the answer
    drop()                    it ends without an answer
    slow(delay=0.05)          seconds between chunks; slow(first=2): before the first; slow(tokens_per_second=20)

`provider.requests` has every request: path, headers, body, time, and its outcome. In a process of its own (which
survives the kernel it serves): `ProviderProcess("script.py")`, or `python -m jupyter_durable.testing.provider`.

troubles  what scripts are made of     scripts ── from a script to a plan
server    sockets                      handler ── one connection · process ── on the command line

The formats themselves, requests and replies are `jupyter_durable.capture.wire.writing`.
"""

from __future__ import annotations

from jupyter_durable.capture.wire.writing.replies import Reply, ToolCall, Usage, call, reply, usage
from jupyter_durable.capture.wire.writing.requests import Message, Request
from jupyter_durable.testing.provider.process import ProviderProcess
from jupyter_durable.testing.provider.scripts import Script, ScriptError, echo, in_order, turns
from jupyter_durable.testing.provider.server import FakeProvider
from jupyter_durable.testing.provider.troubles import Trouble, cut, drop, fault, slow

__all__ = [
    "FakeProvider",
    "Message",
    "ProviderProcess",
    "Reply",
    "Request",
    "Script",
    "ScriptError",
    "ToolCall",
    "Trouble",
    "Usage",
    "call",
    "cut",
    "drop",
    "echo",
    "fault",
    "in_order",
    "reply",
    "slow",
    "turns",
    "usage",
]
