"""A model's answer that is streamed in one cell and read on in another, in real kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from kernels import Kernel

from jupyter_durable.testing import FakeProvider
from jupyter_durable.testing.provider import reply, slow

ASK = """%%durable ask
import openai
client = openai.OpenAI()
answer = client.chat.completions.create(
    model="fake-model", messages=[{"role": "user", "content": "what is a lease"}], stream=True)
parts = iter(answer)
said = "".join(next(parts).choices[0].delta.content or "" for _ in range(3))
said
"""
GO_ON = """%%durable go-on
rest = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
rest
"""
TEXT = "A lease is a lock that expires by itself after a while."


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """It lives in the test's process, and counts."""
    with FakeProvider(lambda request: [slow(delay=0.005), reply(TEXT)]) as running:
        yield running


def environment(provider: FakeProvider) -> dict[str, str | None]:
    """What the SDK needs."""
    return {"OPENAI_BASE_URL": provider.openai_base, "OPENAI_API_KEY": "fake"}


@pytest.mark.slow
def test_the_rest_of_an_answer_is_the_next_cells(
    make_kernel: Callable[..., Kernel], provider: FakeProvider
) -> None:
    """Both cells replay in a fresh kernel; the second says what it records."""
    kernel = make_kernel(env=environment(provider))
    kernel.check("%load_ext jupyter_durable")
    begun = eval(kernel.check(ASK, allow_stdin=True).result or "")
    second = kernel.check(GO_ON, allow_stdin=True)
    rest = eval(second.result or "")
    assert begun + rest == TEXT
    assert "run 'ask' asked for the response of openai.chat that is read on here" in str(second.outputs)
    kernel.restart()
    kernel.check("%load_ext jupyter_durable")
    assert eval(kernel.check(ASK, allow_stdin=True).result or "") == begun
    assert eval(kernel.check(GO_ON, allow_stdin=True).result or "") == rest
    assert provider.hits == 1


@pytest.mark.slow
def test_what_a_plain_cell_reads_on_is_said_to_be_recorded_nowhere(
    make_kernel: Callable[..., Kernel], provider: FakeProvider
) -> None:
    """A warning, in that cell; in a fresh kernel there is no more than what the durable one has read."""
    kernel = make_kernel(env=environment(provider))
    kernel.check("%load_ext jupyter_durable")
    begun = eval(kernel.check(ASK, allow_stdin=True).result or "")
    plain = kernel.check(GO_ON.split("\n", 1)[1])
    assert begun + eval(plain.result or "") == TEXT
    assert "run 'ask' has ended, and the response of openai.chat" in plain.stderr
    assert "is read on where nothing is recorded" in plain.stderr
    kernel.restart()
    kernel.check("%load_ext jupyter_durable")
    assert eval(kernel.check(ASK, allow_stdin=True).result or "") == begun
    again = kernel.run(GO_ON.split("\n", 1)[1])
    assert "does not know" in again.traceback
    assert provider.hits == 1
