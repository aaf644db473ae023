"""Hypothesis drives both stores and a plain model through the same calls: all three must agree."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from store_kit import ELSEWHERE, SECOND, HandClock, chunk, open_store, record

from jupyter_durable.errors import AlreadyDecidedError, DurableError, LeaseHeldError, LeaseLost
from jupyter_durable.model import Draft, Lease, Payload

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
_META = st.dictionaries(st.text(max_size=4), _JSON, max_size=3)
_BYTES = st.binary(max_size=40) | st.builds(
    lambda unit, n: unit * n, st.binary(min_size=1, max_size=9), st.just(600)
)
_RUN = st.integers(0, 3)
_DRAFT = st.tuples(
    st.sampled_from(["start", "outcome", "log"]),
    st.integers(0, 2**62),
    st.integers(0, 9),
    _META,
    st.none() | _BYTES,
)


class Agreement(RuleBasedStateMachine):
    """Runs are numbered; each has the leases ever given for it, the newest last."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="store-agreement-"))
        self.clock = HandClock()
        self.memory = open_store("memory", self.directory, self.clock)
        self.sqlite = open_store("sqlite", self.directory, self.clock)
        self.journals: list[list[tuple[Any, ...]]] = []  # of each run: (type, scope, pos, meta, body)
        self.leases: list[list[Lease]] = []
        self.valid: list[Lease | None] = []
        self.inboxes: list[dict[str, str]] = []
        self.statuses: list[str] = []

    def teardown(self) -> None:
        try:
            for store in (self.memory, self.sqlite):
                assert store.verify() == []
            self.sqlite.close()
        finally:
            shutil.rmtree(self.directory)

    def both(self, call: Any) -> Any:
        """The common answer of both stores; a raised error of ours is an answer."""
        answers: list[Any] = []
        for store in (self.memory, self.sqlite):
            try:
                answers.append(call(store))
            except (DurableError, LeaseLost) as error:
                answers.append((type(error), str(error).replace(store.url, "")))
        assert answers[0] == answers[1]
        return answers[0]

    def new(self, journal: list[tuple[Any, ...]], **fields: Any) -> None:
        run_id = f"run-{len(self.journals)}"
        lease = self.both(lambda s: s.create_run(record(run_id, **fields), ELSEWHERE, 30.0))
        assert isinstance(lease, Lease)
        self.journals.append(journal)
        self.leases.append([lease])
        self.valid.append(lease)
        self.inboxes.append({})
        self.statuses.append("running")

    @initialize()
    def first(self) -> None:
        self.new([])

    @rule(run=_RUN, base=st.integers(0, 9), make=st.integers(0, 3))
    def fork(self, run: int, base: int, make: int) -> None:
        if make or len(self.journals) > 3:
            return
        run %= len(self.journals)
        base = min(base, len(self.journals[run]))
        entries = list(self.memory.entries(f"run-{run}", after=base - 1, upto=base)) if base else []
        self.new(
            self.journals[run][:base],
            forked_from=f"run-{run}",
            base_seq=base,
            base_hash=entries[0].hash if entries else b"",
        )

    @rule(
        run=_RUN,
        stale=st.integers(0, 3),
        drafts=st.lists(_DRAFT, max_size=3),
        durable=st.booleans(),
        status=st.sampled_from([None, None, "waiting", "completed"]),
    )
    def append(self, run: int, stale: int, drafts: list[Any], durable: bool, status: Any) -> None:
        run %= len(self.journals)
        lease = self.leases[run][-1 - (stale == 0)] if len(self.leases[run]) > 1 else self.leases[run][-1]
        made = []
        for kind, scope, pos, meta, body in drafts:
            payload = None
            if body is not None:
                part = chunk(body[:20])
                whole = chunk(body, part.digest)
                payload = Payload("json", body, (whole.digest,), (part, whole))
            made.append(Draft(kind, scope, pos, meta, payload))
        answer = self.both(lambda s: s.append(lease, made, durable=durable, status=status))
        if lease.generation == getattr(self.valid[run], "generation", None):
            assert [entry.seq for entry in answer] == [
                len(self.journals[run]) + n for n in range(1, len(drafts) + 1)
            ]
            self.journals[run] += drafts
            self.statuses[run] = status or self.statuses[run]
            for entry in answer:
                for digest in entry.payload.refs if entry.payload else ():
                    self.both(lambda s, digest=digest: s.chunk(digest))
        else:
            assert answer[0] is LeaseLost

    @rule(run=_RUN, stale=st.integers(0, 3), drafts=st.lists(_DRAFT, min_size=1, max_size=3))
    def stage(self, run: int, stale: int, drafts: list[Any]) -> None:
        """As the runtime does it: what cannot be staged is appended."""
        run %= len(self.journals)
        lease = self.leases[run][-1 - (stale == 0)] if len(self.leases[run]) > 1 else self.leases[run][-1]
        made = [
            Draft(kind, scope, pos, meta, None if body is None else Payload("json", body))
            for kind, scope, pos, meta, body in drafts
        ]
        answer = self.both(
            lambda s: "kept" if s.stage(lease, made) or s.append(lease, made, durable=False) else ""
        )
        if lease.generation == getattr(self.valid[run], "generation", None):
            self.journals[run] += drafts
        else:
            assert answer[0] is LeaseLost

    @rule(run=_RUN, who=st.sampled_from([ELSEWHERE, SECOND]), ttl=st.sampled_from([10.0, 30.0]))
    def acquire(self, run: int, who: Any, ttl: float) -> None:
        run %= len(self.journals)
        answer = self.both(lambda s: s.acquire(f"run-{run}", who, ttl))
        holder = self.valid[run]
        if holder is not None and holder.owner != who and holder.expires_at > self.clock.now():
            assert answer[0] is LeaseHeldError
        else:
            assert answer.generation > max(lease.generation for lease in self.leases[run])
            self.leases[run].append(answer)
            self.valid[run] = answer

    @rule(run=_RUN, stale=st.booleans(), release=st.booleans())
    def renew_or_release(self, run: int, stale: bool, release: bool) -> None:
        run %= len(self.journals)
        lease = self.leases[run][0 if stale else -1]
        mine = self.valid[run] is not None and self.valid[run].generation == lease.generation  # type: ignore[union-attr]
        if release:
            self.both(lambda s: s.release(lease))
            if mine:
                self.valid[run] = None
        else:
            answer = self.both(lambda s: s.renew(lease, 30.0))
            if mine:
                self.valid[run] = self.leases[run][-1] = answer
            else:
                assert answer[0] is LeaseLost

    @rule(run=_RUN, key=st.sampled_from("abc"), value=_META, by=st.text(max_size=5))
    def post(self, run: int, key: str, value: dict[str, Any], by: str) -> None:
        run %= len(self.journals)
        answer = self.both(lambda s: s.post(f"run-{run}", "signal", key, value, by=by))
        if key in self.inboxes[run]:
            assert answer[0] is AlreadyDecidedError
        else:
            assert answer.id == len(self.inboxes[run]) + 1
            self.inboxes[run][key] = by

    @rule(run=_RUN, meta=_META, alias=st.sampled_from(["/a", "/b"]))
    def describe(self, run: int, meta: dict[str, Any], alias: str) -> None:
        run %= len(self.journals)
        lease = self.leases[run][-1]
        self.both(lambda s: s.update_run(lease, meta=meta))
        self.both(lambda s: s.add_alias(f"run-{run}", alias))
        assert f"run-{run}" in [found.id for found in self.both(lambda s: s.runs(notebook=alias))]

    @rule(seconds=st.sampled_from([1.0, 11.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.clock.at += seconds

    @rule()
    def open_again(self) -> None:
        self.sqlite.close()
        self.sqlite = open_store("sqlite", self.directory, self.clock)

    @invariant()
    def agree(self) -> None:
        for number, journal in enumerate(self.journals):
            run_id = f"run-{number}"
            entries = self.both(lambda s, run_id=run_id: list(s.entries(run_id)))
            assert [
                (e.type, e.scope, e.pos, e.meta, e.payload and e.payload.body) for e in entries
            ] == journal
            if self.valid[number] is not None:
                self.both(lambda s, lease=self.valid[number]: s.settle(lease))
            found = self.both(lambda s, run_id=run_id: s.run(run_id))
            assert (found.head_seq, found.status) == (len(journal), self.statuses[number])
            assert found.owner == (self.valid[number].owner if self.valid[number] else None)  # type: ignore[union-attr]
            items = self.both(lambda s, run_id=run_id: s.inbox(run_id))
            assert {item.key: item.by for item in items} == self.inboxes[number]
        self.both(lambda s: s.runs())


@pytest.mark.parametrize(
    "effort", [pytest.param((8, 12), id="quick"), pytest.param((80, 40), id="long", marks=pytest.mark.slow)]
)
def test_both_stores_agree_with_the_model(effort: tuple[int, int]) -> None:
    """Any sequence of calls has the same answers from both stores, and those a list in memory would give."""
    from hypothesis.stateful import run_state_machine_as_test

    examples, steps = effort
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Agreement,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
