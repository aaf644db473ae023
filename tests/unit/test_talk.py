"""Model calls as people read them: messages and answers out of the store, not bytes."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from click.testing import CliRunner
from runs import Bench

import jupyter_durable as durable
from jupyter_durable.capture.wire.talk import Message, messages
from jupyter_durable.cli import main
from jupyter_durable.testing import Crash, FakeProvider, crash_at

TALK = [
    Message("system", "Be brief."),
    Message("user", "Where is it?"),
    Message("assistant", 'look({"q": "it"})'),
    Message("tool", "→ in Rome"),
    Message("user", "Thanks"),
]


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (
            "messages",
            {
                "system": [{"type": "text", "text": "Be brief."}],
                "messages": [
                    {"role": "user", "content": "Where is it?"},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {"q": "it"}}]},
                    {"role": "tool", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "in Rome"}]}]},
                    {"role": "user", "content": [{"type": "text", "text": "Thanks"}]},
                ],
            },
        ),
        (
            "gemini",
            {
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "Where is it?"}]},
                    {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"q": "it"}}}]},
                    {"role": "tool", "parts": [{"functionResponse": {"name": "look", "response": {"text": "in Rome"}}}]},
                    {"role": "user", "parts": [{"text": "Thanks"}]},
                ],
            },
        ),
        (
            "converse",
            {
                "system": [{"text": "Be brief."}],
                "messages": [
                    {"role": "user", "content": [{"text": "Where is it?"}]},
                    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "look", "input": {"q": "it"}}}]},
                    {"role": "tool", "content": [{"toolResult": {"toolUseId": "t", "content": [{"text": "in Rome"}]}}]},
                    {"role": "user", "content": [{"text": "Thanks"}]},
                ],
            },
        ),
        (
            "chat",
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Where is it?"}]},
                    {"role": "assistant", "content": None, "tool_calls": [{"id": "t", "type": "function", "function": {"name": "look", "arguments": '{"q": "it"}'}}]},
                    {"role": "tool", "tool_call_id": "t", "content": "→ in Rome"},
                    {"role": "user", "content": "Thanks"},
                ],
            },
        ),
        (
            "responses",
            {
                "instructions": "Be brief.",
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "Where is it?"}]},
                    {"type": "function_call", "call_id": "t", "name": "look", "arguments": '{"q": "it"}'},
                    {"type": "function_call_output", "call_id": "t", "output": "→ in Rome"},
                    {"role": "user", "content": "Thanks"},
                ],
            },
        ),
    ],
)  # fmt: skip
def test_one_conversation_in_every_format(api: str, body: dict[str, Any]) -> None:
    """Who said what does not depend on whose format it is."""
    assert messages(api, body) == TALK


def test_other_requests() -> None:
    """A prompt, a text to embed, an image, something unknown."""
    assert messages("chat", {"prompt": "once upon"}) == [Message("user", "once upon")]
    assert messages("embeddings", {"input": ["a", "b"]}) == [Message("user", "a\nb")]
    image = {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]
    }
    assert messages("chat", image) == [Message("user", "<image_url>")]
    assert messages("chat", "text") == []
    assert messages(None, {"x": 1}) == []


@pytest.mark.slow
def test_a_step_shows_its_conversation(tmp_path: Any) -> None:
    """`show STEP` prints messages and the answer, whole or streamed, in text and JSON; secrets are masked."""
    store = str(tmp_path / "j.db")
    key = "sk-PLANTED0123456789abcdef"
    with FakeProvider() as fake:

        @durable.run("agent", store=store)
        def agent() -> None:
            client = openai.OpenAI(base_url=f"{fake.url}/v1", api_key=key)
            for stream in (False, True):
                said = [{"role": "user", "content": f"my key is {key}, and it streams: {stream}"}]
                answer = client.chat.completions.create(model="gpt-4o", messages=said, stream=stream)
                if stream:
                    list(answer)
            httpx.get(f"{fake.url}/nothing")

        agent()
    for step in ("1.0", "1.1"):
        shown = CliRunner().invoke(main, ["show", "agent", step, "--store", store]).output
        assert "user:\nmy key is •••, and it streams" in shown
        assert "assistant:\nYou said: my key is •••" in shown
        found = json.loads(
            CliRunner().invoke(main, ["show", "agent", step, "--json", "--store", store]).output
        )
        assert [message["role"] for message in found["messages"]] == ["user", "assistant"]
        assert found["result"].startswith("'You said: my key is •••")
        assert "PLANTED" not in shown + json.dumps(found)
    page = json.loads(CliRunner().invoke(main, ["show", "agent", "1.2", "--json", "--store", store]).output)
    assert page["name"].startswith("GET 127.0.0.1")
    assert page["messages"] == []


def test_a_stream_that_was_cut_off_shows_what_had_come() -> None:
    """After a crash the text so far can be read: as much as the journal has, which is what anything depends on."""
    bench = Bench()
    note = bench.tool(lambda n: n, name="note")
    with FakeProvider() as fake:

        def agent() -> None:
            client = openai.OpenAI(base_url=f"{fake.url}/v1", api_key="k", max_retries=0)
            said = [{"role": "user", "content": "one two three four"}]
            for n, _ in enumerate(client.chat.completions.create(model="gpt-4o", messages=said, stream=True)):
                if n == 3:
                    note(n)

        with crash_at("after-outcome", 1), pytest.raises(Crash):
            bench.new(agent)
    step = bench.steps()[0]
    *_, last = bench.facade.messages(bench.record.id, step.id)
    assert last.role == "assistant (cut off)"
    assert last.text
    assert "You said: one two three four".startswith(last.text)
    assert step.result == repr(last.text)
