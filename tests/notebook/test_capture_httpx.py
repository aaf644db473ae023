"""An agent of a plain SDK in a real kernel, killed anywhere: same answer, no answered call asked again."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernels import Kernel, KernelDied

from jupyter_durable.session import open_store
from jupyter_durable.testing import FakeProvider
from jupyter_durable.testing.provider import Request, fault, reply, slow

CELL = """%%durable research
import asyncio, httpx2, openai

client = openai.AsyncOpenAI()

async def ask(question):
    answer = await client.chat.completions.create(
        model="fake-model", messages=[{"role": "user", "content": question}])
    return answer.choices[0].message.content

async def tell(question):
    text = ""
    async for part in await client.chat.completions.create(
        model="fake-model", messages=[{"role": "user", "content": question}], stream=True):
        text += part.choices[0].delta.content or "" if part.choices else ""
    return text

first = await tell("what is a lease")
parts = await asyncio.gather(ask(first + " one"), tell(first + " two"), ask(first + " three"))
blocking = openai.OpenAI()
page = blocking.chat.completions.create(
    model="fake-model", messages=[{"role": "user", "content": " ".join(parts)}])
models = (await asyncio.to_thread(httpx2.get, str(client.base_url) + "models")).status_code
last = await tell(page.choices[0].message.content + " last")
len(first), [len(part) for part in parts], models, last
"""
CALLS = 6


def script(request: Request) -> list[object]:
    """Slow answers, one of which is refused first."""
    answer = reply(f"about {request.prompt[-40:]}: " + "word " * 8)
    return [
        *([fault(429, retry_after=0.01)] if request.prompt.endswith("three") else []),
        slow(delay=0.005),
        answer,
    ]


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """It lives in the test's process: a killed kernel does not take it along."""
    with FakeProvider(script) as running:
        yield running


def environment(provider: FakeProvider, crash_at: str | None = None) -> dict[str, str | None]:
    """What the SDK and the kill point need."""
    return {
        "OPENAI_BASE_URL": provider.openai_base,
        "OPENAI_API_KEY": "planted-api-key",
        "JUPYTER_DURABLE_CRASH_AT": crash_at,
    }


def finish(make: Callable[..., Kernel], directory: Path, provider: FakeProvider) -> str:
    """A fresh kernel that runs nothing but the extension and the cell."""
    kernel = make(directory, env=environment(provider))
    kernel.check("%load_ext jupyter_durable")
    result = kernel.check(CELL, allow_stdin=True).result
    kernel.close()
    assert result is not None
    return result


def asked(provider: FakeProvider) -> Counter[str]:
    """How often each call was answered to its end."""
    done = [r for r in provider.requests if r.api and r.outcome == "answered"]
    return Counter(json.dumps([r.body["messages"], r.stream]) for r in done)


def recorded(store: Path) -> int:
    """How many model calls have their outcome."""
    if not store.exists():
        return 0
    with open_store(str(store)) as opened:
        runs = opened.runs(name="research")
        steps = opened.steps(runs[0].id) if runs else []
        return sum(step.kind == "model" and step.status == "completed" for step in steps)


def undisturbed(make: Callable[..., Kernel], directory: Path, provider: FakeProvider) -> str:
    """What the cell gives when nobody kills anything."""
    result = finish(make, directory, provider)
    assert sorted(asked(provider).values()) == [1] * CALLS
    provider.reset()
    return result


def check(provider: FakeProvider, before: Counter[str], done: int) -> None:
    """All were answered, none that had been recorded was asked again."""
    after = asked(provider)
    assert len(after) == CALLS
    again = sum((after - before).values())
    # What was answered and not recorded when the kernel died is asked again: as many as there were strands.
    assert again <= CALLS - done, (again, done)
    assert max(after.values()) <= 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_kill_points(
    make_kernel: Callable[..., Kernel], tmp_path_factory: pytest.TempPathFactory, provider: FakeProvider
) -> None:
    """SIGKILL at moments of the protocol, in whole responses, streams and attempts."""
    expected = undisturbed(make_kernel, tmp_path_factory.mktemp("undisturbed"), provider)
    points = ["after-chunk:2", "after-chunk:9", "before-start:3", "after-start:1", "after-start:4"]
    points += ["after-call:2", "after-call:6", "after-attempt:1", "after-outcome:3", "before-close:1"]
    for point in points:
        provider.reset()
        directory = tmp_path_factory.mktemp("killed")
        kernel = make_kernel(directory, env=environment(provider, point))
        kernel.check("%load_ext jupyter_durable")
        with pytest.raises(KernelDied):
            kernel.run(CELL, allow_stdin=True)
        before, done = asked(provider), recorded(kernel.store)
        assert finish(make_kernel, directory, provider) == expected, point
        check(provider, before, done)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments(
    make_kernel: Callable[..., Kernel], tmp_path_factory: pytest.TempPathFactory, provider: FakeProvider
) -> None:
    """SIGKILL whenever; nothing secret is in the files that are left."""
    expected = undisturbed(make_kernel, tmp_path_factory.mktemp("undisturbed"), provider)
    rng = random.Random(3)
    interrupted = 0
    for _ in range(8):
        provider.reset()
        directory = tmp_path_factory.mktemp("killed")
        kernel = make_kernel(directory, env=environment(provider))
        kernel.check("%load_ext jupyter_durable")
        kernel.submit(CELL, allow_stdin=True)
        wanted, deadline = rng.randint(1, CALLS), time.monotonic() + 60
        while provider.attempts < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.08))  # the random moment itself
        kernel.kill()
        before, done = asked(provider), recorded(kernel.store)
        interrupted += done < CALLS
        assert finish(make_kernel, directory, provider) == expected
        check(provider, before, done)
        for file in directory.rglob("*"):
            assert not file.is_file() or b"planted-api-key" not in file.read_bytes(), file
    assert interrupted >= 4
