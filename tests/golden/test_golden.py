"""Journals written by every released version replay for ever."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

from jupyter_durable.session import Session
from jupyter_durable.store.sqlite import SqliteStore
from jupyter_durable.testing import execute

sys.path.insert(0, str(Path(__file__).parent))
import golden_agents as agents

JOURNALS = sorted(Path(__file__).parent.glob("*.gz"))


@pytest.fixture(params=JOURNALS, ids=lambda path: path.stem)
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Session:
    """A copy of one golden journal, opened."""
    file = tmp_path / "journal.db"
    file.write_bytes(gzip.decompress(request.param.read_bytes()))
    agents.CALLS.clear()
    return Session(SqliteStore(file, key=agents.KEY))


def test_there_is_a_golden_journal() -> None:
    """An empty folder would prove nothing."""
    assert JOURNALS


@pytest.mark.slow
def test_a_completed_run_replays_without_a_call(session: Session) -> None:
    """Values, types, errors, order and changed arguments come back as they were written."""
    (record,) = session.store.runs(name="complete")
    what, value = execute(session, session.replay(record), agents.agent)
    assert what == "returned"
    assert value[0].price == agents.Decimal("1.50")
    assert value[1] == [("a", "('gone', 1)"), ("bb", "('gone', 2)"), ("bb", "('gone', 2)")]
    assert value[2:4] == (2, ["question", "answer"])
    assert agents.CALLS == []


def test_a_run_that_was_cut_off_resumes(session: Session) -> None:
    """Most of eight steps are answered by the old journal; the new entries follow its chain."""
    (record,) = session.store.runs(name="cut off")
    run = session.resume(record)
    what, value = execute(session, run, agents.agent)
    assert what == "returned"
    assert value[3] == ["question", "answer"]
    assert run.stats.replayed + len(agents.CALLS) == 8
    assert 1 <= len(agents.CALLS) <= 2
    assert session.store.verify() == []
