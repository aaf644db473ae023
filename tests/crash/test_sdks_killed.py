"""Unmodified agents in plain SDKs, killed with SIGKILL wherever a run can be: the undisturbed answer, and no completed call again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "lives"))

from nurseries import Life, Yard, calls, goes_on, moments

pytestmark = pytest.mark.slow

SCRIPTS = {
    "plain": """
SAID = [
    reply("Let me look.", tool_calls=[call("search", q="leases"), call("add", a=1, b=2)]),
    reply(tool_calls=[call("search", q="fencing tokens")]),
    reply("A lease is a lock that expires."),
]
def script(request):
    return SAID[request.turn] if request.tools or request.turn else reply("one two three four five six")
""",
    "json": "script = reply(json={'name': 'Bern', 'people': 134_000})",
    "slow": """
def script(request):
    return [slow(delay=0.02), reply("one two three four five six")] if not request.tools else reply("At once.")
""",
    "refusing": """
script = [
    fault(429, retry_after=0.01),
    reply("Let me look.", tool_calls=[call("search", q="leases"), call("add", a=1, b=2)]),
    fault(500, retry_after=0.01, times=2),
    reply("A lease is a lock that expires."),
]
""",
}
NAMES = ["openai.chat", "openai.responses", "anthropic", "gemini", "mistral", "bedrock"]
EVERY = "openai.chat"
"""Killed at every single point; the others at each class of point, early and late."""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """It ends with the module."""
    with Yard("sdk", tmp_path_factory.mktemp("yard"), SCRIPTS) as yard:
        yield yard


def before(passed: list[str], point: str, nth: int) -> Counter[str]:
    """What was passed when it was killed there, that point included."""
    at = [n for n, name in enumerate(passed) if name == point][nth - 1]
    return Counter(passed[: at + 1])


@pytest.mark.parametrize("agent", ["agent", "agent_async", "streaming", "streaming_async", "structured"])
@pytest.mark.parametrize("name", NAMES)
def test_a_sequential_agent_goes_on_with_exactly_the_calls_that_are_left(
    name: str, agent: str, yard: Yard
) -> None:
    """Killed at its kill points. A life makes the calls that have no outcome yet, in their order, and no other."""
    nursery = yard.nursery(name)
    if name == "bedrock" and agent.endswith("async"):
        pytest.skip("boto3 has no async client")
    source = yard.provider("json" if agent == "structured" else "plain")
    undisturbed = nursery.live(agent, f"{agent} undisturbed", provider=source)
    assert not undisturbed.killed
    for point, nth in moments(undisturbed.points, every=name == EVERY):
        trial = f"{agent} {point}:{nth}"
        first = nursery.live(agent, trial, crash=f"{point}:{nth}", provider=source)
        assert first.killed, trial
        passed = before(undisturbed.points, point, nth)
        done = nursery.committed(trial)["model"]
        # A stream whose consumer stops at its last event has its outcome without that kill point.
        seen = max(passed["after-outcome"], passed["before-start"] - 1)
        assert seen <= done <= passed["before-start"], (
            f"{trial}: the journal does not say what the agent has seen"
        )
        made = calls(first.requests)
        assert made == calls(undisturbed.requests)[: len(made)], trial
        assert done <= len(made) <= done + 1, trial
        second = nursery.live(agent, trial, provider=source)
        assert not second.killed
        assert second.answer == undisturbed.answer, trial
        assert goes_on(second, undisturbed, done), f"{trial}: {done} calls had an outcome"
        assert second.said == undisturbed.said, f"{trial}: not what the SDK gave at first"
        assert nursery.status(trial) == "completed"


@pytest.mark.parametrize("agent", ["parallel", "parallel_async"])
@pytest.mark.parametrize("name", NAMES)
def test_agents_side_by_side_make_no_completed_call_again(name: str, agent: str, yard: Yard) -> None:
    """Equal agents in tasks or threads: of each call there are as many left as have no outcome."""
    nursery = yard.nursery(name)
    if name == "bedrock" and agent.endswith("async"):
        pytest.skip("boto3 has no async client")
    undisturbed = nursery.live(agent, f"{agent} undisturbed")
    wanted = Counter(undisturbed.requests)
    strands = 2 if agent == "parallel" else 3
    for point, nth in moments(undisturbed.points, every=False):
        trial = f"{agent} {point}:{nth}"
        assert nursery.live(agent, trial, crash=f"{point}:{nth}").killed, trial
        done = nursery.committed(trial)["model"]
        second = nursery.live(agent, trial)
        assert second.answer == undisturbed.answer, trial
        assert sorted(second.said) == sorted(undisturbed.said), trial
        made = Counter(second.requests)
        assert made <= wanted, trial
        assert made.total() == wanted.total() - done, f"{trial}: {done} calls had an outcome"
        assert nursery.status(trial) == "completed"
    assert strands == len(undisturbed.answer)


@pytest.mark.parametrize("name", NAMES)
def test_killed_between_refusals(name: str, yard: Yard) -> None:
    """429 and 500 that the SDK tries again: attempts count, an answer is still given once."""
    nursery, source = yard.nursery(name), yard.provider("refusing")
    undisturbed = nursery.live("agent", "refused undisturbed", provider=source)
    assert [request[:6] == "fault " for request in undisturbed.requests] == [True, False, True, True, False]
    answered = [request for request in undisturbed.requests if not request.startswith("fault ")]
    for point, nth in moments(undisturbed.points, every=False):
        trial = f"refused {point}:{nth}"
        assert nursery.live("agent", trial, crash=f"{point}:{nth}", provider=source).killed, trial
        done = nursery.committed(trial)["model"]
        second = nursery.live("agent", trial, provider=source, again=True)
        assert second.answer == undisturbed.answer, trial
        assert [r for r in second.requests if not r.startswith("fault ")] == answered[done:], trial


STREAMS = ["streaming", "streaming_async"]


@pytest.mark.parametrize("agent", STREAMS)
@pytest.mark.parametrize("name", NAMES)
def test_killed_from_outside_in_the_middle_of_a_stream(
    name: str, agent: str, yard: Yard, tmp_path: Path
) -> None:
    """The tokens come slowly; SIGKILL after some. The stream, and nothing before it, is asked for again."""
    nursery, source = yard.nursery(name), yard.provider("slow")
    if name == "bedrock" and agent.endswith("async"):
        pytest.skip("boto3 has no async client")
    undisturbed = nursery.live(agent, f"slow {agent}", provider=source)
    for token, done in ((2, 0), (8, 2)):  # in the first stream; in the second, after a call that was answered
        trial = f"slow {agent} {token}"
        tokens = tmp_path / f"{token}"
        first = nursery.live(agent, trial, provider=source, kill_at_token=token, tokens=tokens)
        assert first.killed
        assert first.requests[-1].startswith("gone ")
        assert nursery.committed(trial)["model"] == done
        second = nursery.live(agent, trial, provider=source)
        assert second.answer == undisturbed.answer
        assert second.requests == undisturbed.requests[done:]


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_that_a_step_depends_on_breaks_off_as_a_connection_does(
    name: str, yard: Yard, tmp_path: Path
) -> None:
    """Its prefix comes again and then the SDK's own error, which the agent knows how to handle; the step is not made again."""
    nursery, source = yard.nursery(name), yard.provider("slow")
    assert nursery.live("noting", "noting", provider=source).answer == ["one two three four five six"]
    first = nursery.live("noting", "noted", provider=source, kill_at_token=4, tokens=tmp_path / "first")
    assert first.killed
    assert nursery.committed("noted") == {"tool": 1}
    second = nursery.live("noting", "noted", provider=source, tokens=tmp_path / "second")
    assert second.answer[0] == "one two three four five six"
    assert "." in second.answer[1]
    assert len(second.requests) == 1
    assert (tmp_path / "second").stat().st_size >= 3 + 6


@pytest.mark.parametrize("name", NAMES)
def test_killed_over_and_over(name: str, yard: Yard) -> None:
    """Four lives that end at the next kill of the same kind: each call is answered to some life, and to one only that saw it."""
    nursery = yard.nursery(name)
    undisturbed = nursery.live("agent", "again undisturbed")
    lives: list[Life] = []
    for crash in ("after-call:1", "after-outcome:1", "after-start:1", "after-call:1", ""):
        done = nursery.committed("again")["model"] if lives else 0
        lives.append(nursery.live("agent", "again", crash=crash))
        assert calls(lives[-1].requests) == calls(undisturbed.requests)[done:][: len(lives[-1].requests)]
    assert [life.killed for life in lives] == [True] * 4 + [False]
    assert lives[-1].answer == undisturbed.answer
    assert [len(life.requests) for life in lives] == [1, 1, 0, 1, 2]
