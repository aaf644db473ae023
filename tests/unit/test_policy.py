"""Which run a durable cell belongs to: every row of the design's table, and what holds for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_durable.errors import DurableError, LeaseHeldError, RunNotFoundError
from jupyter_durable.journal.policy import Fork, New, Refuse, Restore, Resume, Situation, ago, choose
from jupyter_durable.model import RunStatus

RUN = Situation(run="01a2", name="research", age=7200)
UNFINISHED: tuple[RunStatus, ...] = ("running", "waiting", "interrupted", "failed")


def given_run(status: RunStatus, **fields: Any) -> Situation:
    """A situation with a run of this status."""
    return replace(RUN, status=status, **fields)


def test_first_time() -> None:
    """Without a run of that name there is a new one, and nothing to say."""
    assert choose(Situation(name="research")) == New("")


@pytest.mark.parametrize("status", UNFINISHED)
@pytest.mark.parametrize("interactive", [True, False])
def test_unfinished_is_resumed(status: RunStatus, interactive: bool) -> None:
    """Unfinished or failed, its owner gone: resumed, with and without a person."""
    assert choose(given_run(status, interactive=interactive)) == Resume("resuming 01a2")


def test_unfinished_with_other_inputs_interactive() -> None:
    """Captured inputs differ, a person is there: resumed as an edit, naming the inputs."""
    decision = choose(given_run("interrupted", differing=("topic", "limit")))
    assert isinstance(decision, Resume)
    assert decision.as_edit
    assert "topic, limit" in decision.notice


def test_unfinished_with_other_inputs_headless() -> None:
    """Captured inputs differ, nobody is there: a new run that names the old one and how to resume it."""
    decision = choose(given_run("failed", differing=("topic",), interactive=False))
    assert isinstance(decision, New)
    assert "topic differs" in decision.notice
    assert "%%durable research --resume 01a2" in decision.notice


@pytest.mark.parametrize("status", UNFINISHED)
@pytest.mark.parametrize("interactive", [True, False])
def test_owner_alive_elsewhere_is_refused(status: RunStatus, interactive: bool) -> None:
    """Unfinished, its owner alive in another process: refused, naming the owner."""
    decision = choose(
        given_run(status, owner_alive=True, owner="kernel (pid 7 on host)", interactive=interactive)
    )
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, LeaseHeldError)
    assert "kernel (pid 7 on host)" in str(decision.error)
    assert decision.error.owner == "kernel (pid 7 on host)"


def test_completed_in_fresh_kernel_interactive() -> None:
    """Completed, fresh kernel, same code and inputs, a person is there: restored, in the quoted words."""
    assert choose(given_run("completed")) == Restore("restored from 01a2, 2 h ago; --new runs it again")


def test_completed_headless_is_new() -> None:
    """Completed, nobody there: yesterday's answer is never passed off as today's."""
    assert isinstance(choose(given_run("completed", interactive=False)), New)


@pytest.mark.parametrize(
    "fields", [{"same_code": False, "changed_code": ("search",)}, {"differing": ("search",)}]
)
def test_completed_and_changed(fields: dict[str, Any]) -> None:
    """Completed, code or inputs differ: forked with a person, naming what changed, new without."""
    decision = choose(given_run("completed", **fields))
    assert isinstance(decision, Fork)
    assert "search" in decision.notice
    assert isinstance(choose(given_run("completed", interactive=False, **fields)), New)


@pytest.mark.parametrize("interactive", [True, False])
@pytest.mark.parametrize("differing", [(), ("messages",)])
def test_completed_executed_again_in_this_kernel(interactive: bool, differing: tuple[str, ...]) -> None:
    """Completed and executed again in this kernel: a new run, also when the first changed its inputs."""
    decision = choose(
        given_run("completed", executed_here=True, interactive=interactive, differing=differing)
    )
    assert isinstance(decision, New)
    if interactive:  # it costs again, so it says how to see what was paid for
        changed = " (messages changed)" if differing else ""
        assert decision.notice == (
            f"new run{changed}; the last one completed 2 h ago: %%durable research --replay 01a2 shows it again"
        )


def test_completed_edited_and_executed_in_this_kernel() -> None:
    """Completed here, then edited: forked, so that what did not change is not paid for again."""
    assert isinstance(choose(given_run("completed", executed_here=True, same_code=False)), Fork)


@pytest.mark.parametrize("status", UNFINISHED)
@pytest.mark.parametrize("interactive", [True, False])
def test_edited_unfinished_run_forks(status: RunStatus, interactive: bool) -> None:
    """Changed code on an unfinished or failed run: it forks by itself, and says what changed."""
    changed = ("the cell", "search")
    decision = choose(given_run(status, same_code=False, changed_code=changed, interactive=interactive))
    assert decision == Fork("forking 01a2: the cell, search changed")


def test_two_live_cells_of_one_name() -> None:
    """A name used by two live cells of this kernel is refused."""
    decision = choose(given_run("running", running_here=True))
    assert isinstance(decision, Refuse)
    assert "share a name" in decision.error.hint


def test_interrupted_here_is_resumed() -> None:
    """A run this kernel executed and left unfinished is resumed in it."""
    assert isinstance(choose(given_run("interrupted", executed_here=True)), Resume)


@pytest.mark.parametrize("status", [None, *get_args(RunStatus)])
def test_new_flag(status: RunStatus | None) -> None:
    """`--new` always starts a run, whoever holds the old one."""
    assert isinstance(choose(replace(RUN, status=status, flag="new", owner_alive=True)), New)


@pytest.mark.parametrize("flag", ["resume", "replay"])
def test_flag_without_a_run(flag: Any) -> None:
    """`--resume` and `--replay` of a run that does not exist are refused."""
    decision = choose(replace(RUN, flag=flag))
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, RunNotFoundError)


def test_resume_flag() -> None:
    """`--resume` continues where the table would start anew, restores or forks a completed run, and obeys leases."""
    say = {"flag": "resume", "interactive": False}
    assert choose(given_run("failed", differing=("topic",), **say)) == Resume(
        "resuming 01a2 as an edit: topic changed", as_edit=True
    )
    assert isinstance(choose(given_run("completed", executed_here=True, **say)), Restore)
    assert isinstance(choose(given_run("completed", same_code=False, **say)), Fork)
    assert isinstance(choose(given_run("running", owner_alive=True, **say)), Refuse)
    assert isinstance(choose(given_run("cancelled", **say)), Refuse)


def test_replay_flag() -> None:
    """`--replay` restores a run that ended, whatever was edited, and refuses one that did not."""
    assert isinstance(choose(given_run("completed", flag="replay", same_code=False)), Restore)
    assert isinstance(choose(given_run("failed", flag="replay")), Restore)
    decision = choose(given_run("interrupted", flag="replay"))
    assert isinstance(decision, Refuse)
    assert "--resume 01a2" in decision.error.hint


def test_cancelled_run_is_left() -> None:
    """After a cancelled run there is a new one, which says so."""
    assert choose(given_run("cancelled")) == New("new run; 01a2 was cancelled 2 h ago")


@pytest.mark.parametrize("differing", [(), ("now",)])
def test_job_restart(differing: tuple[str, ...]) -> None:
    """A restart inside one job resumes by run id with the snapshot's inputs, whatever set-up cells computed."""
    fields: dict[str, Any] = {"job_restart": True, "interactive": False, "differing": differing}
    assert choose(given_run("running", **fields)) == Resume("resuming 01a2")
    assert isinstance(choose(given_run("completed", **fields)), Restore)
    assert isinstance(choose(given_run("running", owner_alive=True, **fields)), Refuse)


SITUATIONS = st.builds(
    Situation,
    status=st.sampled_from([None, *get_args(RunStatus)]),
    run=st.sampled_from(["", "01a2"]),
    name=st.sampled_from(["", "research"]),
    age=st.floats(-1, 1e9),
    owner=st.sampled_from(["", "kernel (pid 7 on host)"]),
    owner_alive=st.booleans(),
    running_here=st.booleans(),
    executed_here=st.booleans(),
    interactive=st.booleans(),
    same_code=st.booleans(),
    changed_code=st.sampled_from([(), ("search",), tuple("abcdefgh")]),
    differing=st.sampled_from([(), ("topic",), tuple("abcdefgh")]),
    flag=st.sampled_from([None, "new", "resume", "replay"]),
    job_restart=st.booleans(),
)


@given(SITUATIONS)
def test_choose_is_total(situation: Situation) -> None:
    """Every situation has exactly one decision, the same each time; notices are one line, refusals carry a hint."""
    decision = choose(situation)
    assert choose(situation) == decision or isinstance(decision, Refuse)
    if isinstance(decision, Refuse):
        assert isinstance(decision.error, DurableError)
        assert decision.error.hint
    else:
        assert isinstance(decision, New | Resume | Restore | Fork)
        assert "\n" not in decision.notice


@given(SITUATIONS)
def test_nothing_touches_what_another_process_runs(situation: Situation) -> None:
    """While another process advances an unfinished run, this one starts its own or nothing at all."""
    situation = replace(situation, status="running", owner_alive=True)
    assert isinstance(choose(situation), New if situation.flag == "new" else Refuse)


@given(SITUATIONS)
def test_nobody_gets_yesterdays_answer_unasked(situation: Situation) -> None:
    """Headless, outside a job's restart and without a flag, a completed run is never restored or forked."""
    situation = replace(
        situation, status="completed", interactive=False, flag=None, job_restart=False, running_here=False
    )
    assert isinstance(choose(situation), New)


def test_ago() -> None:
    """Durations are said in the largest unit that fits."""
    assert [ago(s) for s in (-3, 5, 120, 7200, 200_000)] == [
        "0 s ago",
        "5 s ago",
        "2 min ago",
        "2 h ago",
        "2 d ago",
    ]
