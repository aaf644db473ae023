"""The figures of capture: what recording an SDK's calls costs, beside the same calls by the bare SDK in the same run.

The provider is a process of its own, so that its work is not on our interpreter's account.
"""

from __future__ import annotations

import contextvars
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_figures import message, size
from bench_kit import BareSqlite, Figure, live, seconds, session_in
from bench_yardstick import lookup, slowness

from jupyter_durable.testing import ProviderProcess

_HERE = Path(__file__).parent
_ANSWER = " ".join(f"clause {n} of the rule about suites and targets;" for n in range(17))
_SCRIPT = f"""
from jupyter_durable.testing import reply, slow
script = lambda request: [slow(delay=0.005), reply({_ANSWER!r})] if request.stream else reply({_ANSWER!r})
"""
_QUESTION = [{"role": "user", "content": "What is a lease?"}]


@contextmanager
def _served(place: Path, script: str = _SCRIPT) -> Iterator[ProviderProcess]:
    path = place / "script.py"
    path.write_text(script)
    with ProviderProcess(path) as provider:
        yield provider


def _openai(provider: ProviderProcess) -> Any:
    import openai

    return openai.OpenAI(base_url=provider.openai_base, api_key="fake")


def _in_memory() -> Any:
    """The SDK without a network: its answers are in memory."""
    import httpx2
    import openai

    said = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": _ANSWER}}
        ],
        "usage": {"prompt_tokens": 4, "completion_tokens": 130, "total_tokens": 134},
    }
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=said))
    return openai.OpenAI(api_key="fake", http_client=httpx2.Client(transport=transport))


def _ask(client: Any, topic: object = "") -> str:
    messages = [{"role": "user", "content": f"What is a lease? {topic}"}]
    said = client.chat.completions.create(model="gpt-4o", messages=messages)
    assert said.choices[0].message.content == _ANSWER
    return said.choices[0].message.content  # type: ignore[no-any-return]


# -- streams -----------------------------------------------------------------------------------------


def _streamed(client: Any) -> tuple[float, list[float]]:
    """Seconds to the first token, and between tokens."""
    start = time.perf_counter()
    times = [
        time.perf_counter()
        for chunk in client.chat.completions.create(model="gpt-4o", messages=_QUESTION, stream=True)
        if chunk.choices and chunk.choices[0].delta.content
    ]
    return times[0] - start, [later - earlier for earlier, later in itertools.pairwise(times)]


def _streams(place: Path, rounds: int = 15) -> tuple[list[Any], list[Any]]:
    floors, ours = [], []
    with _served(place) as provider, session_in(place) as session:
        bare, recorded = _openai(provider), _openai(provider)
        _streamed(bare)
        with live(session):
            _streamed(recorded)
        for _ in range(rounds):
            floors.append(_streamed(bare))
            with live(session):
                ours.append(_streamed(recorded))
    return floors, ours


def first_token(place: Path) -> Figure:
    """Time to the first token of a stream while it is recorded, over the bare SDK's."""
    floors, ours = ([first for first, _ in found] for found in _streams(place))
    more = statistics.median(b - a for a, b in zip(floors, ours, strict=True))
    return Figure(
        "time to the first token while recording, over the bare SDK",
        f"{statistics.median(floors) * 1e3:.1f} ms",
        f"{statistics.median(ours) * 1e3:.1f} ms",
        more,
        0.010,
        "s",
    )


def token_gaps(place: Path) -> Figure:
    """The gaps between tokens that come every 5 ms, beside the bare SDK's."""
    floors, ours = ([sorted(gaps) for _, gaps in found] for found in _streams(place))
    ratio = statistics.median(
        statistics.median(b) / statistics.median(a) for a, b in zip(floors, ours, strict=True)
    )
    late = [
        statistics.median(gaps[int(len(gaps) * 0.95)] for gaps in found) * 1e3 for found in (floors, ours)
    ]
    middle = [statistics.median(statistics.median(gaps) for gaps in found) * 1e3 for found in (floors, ours)]
    return Figure(
        "gaps between tokens while recording (median; 95th percentile)",
        f"{middle[0]:.2f}; {late[0]:.2f} ms",
        f"{middle[1]:.2f}; {late[1]:.2f} ms",
        ratio,
        1.05,
    )


# -- calls -------------------------------------------------------------------------------------------


def openai_call(place: Path) -> Figure:
    """A call through the OpenAI SDK, over the bare call and one bare durable commit of what is kept of it."""
    with _served(place) as provider:
        client = _openai(provider)
        return _over_commit(place, "captured call, OpenAI SDK", lambda: _ask(client))


def httpx2_call(place: Path) -> Figure:
    """The same for a plain request by httpx2 to a model API."""
    import httpx2

    with _served(place) as provider, httpx2.Client(base_url=provider.openai_base) as client:

        def ask() -> None:
            sent = {"model": "gpt-4o", "messages": _QUESTION}
            client.post(
                "/chat/completions", json=sent, headers={"authorization": "Bearer fake"}
            ).raise_for_status()

        return _over_commit(place, "captured call, bare httpx2", ask)


def _over_commit(place: Path, what: str, ask: Callable[[], Any]) -> Figure:
    bare = BareSqlite(place)
    body = _ANSWER.encode()
    ask()  # connects
    outside = contextvars.copy_context()  # no run is current in there

    def floor() -> None:
        ask()
        bare.commit(body)

    floors, ours, looks = [], [], []
    with session_in(place) as session, live(session):
        ask()
        for _ in range(150):
            floors.append(outside.run(seconds, floor))
            ours.append(seconds(ask))
            looks.append(lookup())
    bare.close()
    least, most = _undisturbed(floors), _undisturbed(ours)
    return Figure(
        f"{what}, over the bare call and one bare commit",
        f"{least * 1e3:.2f} ms",
        f"{most * 1e3:.2f} ms",
        (most - least) * 1e3,
        1.0,
        "ms",
        slowness(_undisturbed(looks)),
    )


def _undisturbed(times: list[float]) -> float:
    """The mean of the quickest fifth: who waits for a server is disturbed by all the machine does."""
    return statistics.mean(sorted(times)[: len(times) // 5])


def replay_openai(place: Path) -> Figure:
    """A model call through the OpenAI SDK, replayed; the floor is the SDK's own work, its answer being in memory."""
    count, client = 200, _in_memory()

    def code() -> float:
        """Seconds a call, in the best of ten blocks."""
        blocks = range(0, count, count // 10)
        return min(
            seconds(lambda start=start: [_ask(client, topic) for topic in range(start, start + count // 10)])  # type: ignore[misc]
            for start in blocks
        ) / (count // 10)

    with session_in(place) as session:
        with live(session, close=False) as run:
            code()
        floors, ours, looks = [], [], []
        for _ in range(5):
            looks.append(lookup())
            floors.append(code())
            with live(session, resume=run.record, close=False) as again:
                ours.append(code())
                assert (again.stats.replayed, again.stats.executed) == (count, 0)
    return Figure(
        f"replayed model call through the OpenAI SDK ({1 / min(ours):,.0f} a second)",
        f"{min(floors) * 1e3:.2f} ms (the SDK, without a network)",
        f"{min(ours) * 1e3:.2f} ms",
        min(ours) * 1e3,
        5.0,
        "ms",
        slowness(min(looks)),
    )


# -- disk --------------------------------------------------------------------------------------------


def openai_conversation(place: Path, turns: int) -> tuple[int, int]:
    """An agent that sends its whole conversation each turn through the OpenAI SDK: (bytes on disk, new on the wire).

    New on the wire is what a request has that the one before had not (the last answer, sent back, and the question),
    and the response: its head and its body.
    """
    import httpx2
    import openai

    wire = 0

    def serve(request: Any) -> Any:
        nonlocal wire
        asked = json.loads(request.content)["messages"]
        number = len(asked)
        wire += sum(len(json.dumps(message)) for message in asked[-2:])
        token = f"{random.Random(number).getrandbits(96):024x}"
        said = {
            "id": f"chatcmpl-{token}",
            "object": "chat.completion",
            "created": 1_700_000_000 + number,
            "model": "gpt-4o",
            "choices": [
                {
                    "index": 0,
                    "message": {**message(number, "assistant", 700), "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 80 * number,
                "completion_tokens": 140,
                "total_tokens": 80 * number + 140,
            },
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }
        response = httpx2.Response(200, json=said, headers={"x-request-id": f"req_{token}"})
        wire += len(response.content) + sum(
            len(name) + len(value) + 4 for name, value in response.headers.raw
        )
        return response

    client = openai.OpenAI(api_key="fake", http_client=httpx2.Client(transport=httpx2.MockTransport(serve)))
    with session_in(place) as session:
        empty = size(place)
        with live(session) as run:
            messages: list[dict[str, str]] = []
            for turn in range(turns):
                messages.append(message(turn, "user", 300))
                # Past its check of every message, which takes the SDK minutes in all and nothing on disk.
                answer = client.chat.completions.create(
                    model="gpt-4o", messages=[], extra_body={"messages": messages}
                )
                messages.append({"role": "assistant", "content": answer.choices[0].message.content or ""})
            assert run.stats.executed == turns
    return size(place) - empty, wire


def openai_disk(place: Path) -> Figure:
    """400 turns through the OpenAI SDK, requests and responses whole, against the new bytes on the wire."""
    kept, wire = openai_conversation(place, 400)
    return Figure(
        "disk, conversation of 400 turns through the OpenAI SDK",
        f"{wire / 1e6:.2f} MB new on the wire",
        f"{kept / 1e6:.2f} MB",
        kept / wire,
        1.3,
    )


# -- outside -----------------------------------------------------------------------------------------


def outside(place: Path) -> Figure:
    """200 calls by the bare SDK in a shell whose durable run has ended, beside one that never loaded the extension."""
    with _shell(place, "never") as never, _shell(place, "after") as after:
        never(), after()
        pairs = [(never(), after()) for _ in range(25)]
    floors, ours = (min(times) for times in zip(*pairs, strict=True))
    return Figure(
        "outside: 200 SDK calls after a run has ended, beside a shell without us",
        f"{floors * 1e3:.0f} ms",
        f"{ours * 1e3:.0f} ms",
        ours / floors,
        1.0,
    )


@contextmanager
def _shell(place: Path, what: str) -> Iterator[Callable[[], float]]:
    home = place / what
    home.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(_HERE / "bench_outside.py"), what],
        env={
            **os.environ,
            "IPYTHONDIR": str(home / "ipython"),
            "JUPYTER_DATA_DIR": str(home / "jupyter"),
            "JUPYTER_DURABLE_STORE": str(home / "journal.db"),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    sent, said = process.stdin, process.stdout

    def measure() -> float:
        print("go", file=sent, flush=True)
        return float(said.readline())

    try:
        yield measure
    finally:
        sent.close()
        process.wait()
        said.close()


ALL = {
    figure.__name__: figure
    for figure in (
        first_token,
        token_gaps,
        openai_call,
        httpx2_call,
        replay_openai,
        openai_disk,
        outside,
    )
}
"""Every figure of capture, in the table's order."""
