"""A run's journal as a timeline that can be followed: folded once, then only what is new.

    Feed.read ── new entries ── Index ── which rows they touch ── a new mark
    Feed.pages(since) ── what changed after that mark, in portions

Entries are folded as resuming folds them (`journal.index`), so a row says what a resume will find. Only rows that
an entry touched are made again, except after the few kinds of entries that can change any of them. What a row
says of values is made for the newest rows; the others' texts are fetched when somebody looks at them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jupyter_durable.codec.redaction import mask
from jupyter_durable.journal import spend, tally
from jupyter_durable.journal.index import MAIN, ROOT, Index, RecordedStep
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Entry, RunRecord
from jupyter_durable.timeline.folding import (
    Tolerant,
    forget,
    logged,
    no_counts,
    one_line,
)
from jupyter_durable.timeline.rows import Counts, Lane, Page, Relative, Row, RunHead, Wait
from jupyter_durable.timeline.texts import Sight, Texts
from jupyter_durable.timeline.view import given, run_status, scope_path, status_of, step_status

PORTION = 500
"""Rows of a page."""

_EAGER = 200  # rows of one reading whose texts are made at once
_ANY = frozenset({"retry", "cut", "resumed", "opened", "closed"})  # entries that may change any row


class Feed:
    """One run's timeline. Not for several threads at once.

    `limit`: rows that are kept; older ones are forgotten, and entries skipped, if more come than can be folded
    at leisure. None: all of them.
    """

    def __init__(self, store: JournalStore, run_id: str, sight: Sight, *, limit: int | None = None) -> None:
        self._store = store
        self._sight = sight
        self.texts = Texts(store, run_id, sight)
        self._limit = limit
        self.id = os.urandom(6).hex()
        self.mark = 0
        self.record = store.run(run_id)
        self.skipped = 0
        self._begin(0)

    def _begin(self, after: int) -> None:
        self.index = (
            Tolerant(base_seq=self.record.base_seq) if after else Index(base_seq=self.record.base_seq)
        )
        self._head = after
        self._steps: list[RecordedStep] = []
        self._number: dict[int, int] = {}  # of a step, by its first entry
        self._changed: dict[int, int] = {}  # row -> mark, in the order of marks
        self._lanes: dict[int, int] = {}  # scope -> mark
        self.texts.clear()
        self._progress: dict[tuple[int, int], float] = {}
        self._sessions: list[tuple[float, float | None]] = []
        self._last_at = 0.0
        self._abandoned: set[int] = set()
        self._state: tuple[Any, ...] = ()
        self._relatives: tuple[Relative | None, list[Relative]] | None = None
        self._waits: list[Wait] = []
        self._states: dict[int, tuple[str, ...]] = {}  # of the rows that count
        self._names: dict[str, list[int]] = {}  # of lanes
        self._signed: dict[int, tuple[Any, ...]] = {}
        self._counts: Counts = no_counts()
        self._spent: spend.Spend | None = None

    # -- following -------------------------------------------------------------------------------

    def read(self) -> bool:
        """Fold what was written since; whether anything changed."""
        record = self.record = self._store.run(self.record.id)
        if self._limit is not None and record.head_seq - self._head > 10 * self._limit and self._head:
            self.skipped += len(self._steps)
            self._begin(max(record.head_seq - 2 * self._limit, 0))
        after, known = self._head, len(self._steps)
        entries = list(self._store.entries(record.id, after=after)) if self._is_behind(record) else []
        touched = self._fold(entries) if entries else set()
        alive = self._sight.alive(record)
        state = record.status, alive, record.owner
        ask = entries or state != self._state or self._waits or record.status == "waiting"
        waits = list(self._sight.waits(record, self.index)) if ask else []
        if state != self._state:
            touched |= {n for n, step in enumerate(self._steps) if step.outcome is None}
        if waits != self._waits:
            by = {wait.get("step") for wait in (*waits, *self._waits)}
            touched |= {self._number[s.seq] for s in self._open() if s.id in by and s.seq in self._number}
        changed = bool(entries) or state != self._state or waits != self._waits
        self._state, self._waits = state, waits
        if changed:
            self._turn(touched, first=not known)
        return changed

    def _is_behind(self, record: RunRecord) -> bool:
        # Starts are staged before they are stored, and the run's row does not know of them: while somebody
        # advances it, only reading tells.
        return record.head_seq > self._head or record.owner is not None

    def _open(self) -> Iterator[RecordedStep]:
        return (step for step in self._steps if step.outcome is None)

    def _fold(self, entries: Sequence[Entry]) -> set[int]:
        index = self.index
        index.extend(entries)
        places: set[tuple[int, int]] = set()
        for entry in entries:
            kind = entry.type
            if entry.scope != ROOT and kind != "values" and kind != "scope":
                places.add((entry.scope, entry.pos))
            if kind == "log" and "p" in entry.meta:
                self._progress[entry.scope, entry.pos] = entry.meta["p"]
            elif kind in ("opened", "resumed"):
                self._close_session()
                self._sessions.append((entry.at, None))
            elif kind == "closed" and self._sessions:
                self._sessions[-1] = (self._sessions[-1][0], entry.at)
            self._last_at = entry.at
        self._head = entries[-1].seq
        steps = {place: step for place in places if (step := index.step(*place)) is not None}
        fresh = sorted((s for s in steps.values() if s.seq not in self._number), key=lambda s: s.seq)
        for step in fresh:
            self._number[step.seq] = len(self._steps)
            self._steps.append(step)
        touched = {self._number[step.seq] for step in steps.values()}
        if any(entry.type in _ANY or spend.USED in entry.meta for entry in entries):
            self._spent = None
        if any(entry.type in _ANY for entry in entries):
            self._abandoned = {id(step) for step in index.abandoned}
            touched |= {
                n for n, step in enumerate(self._steps) if self._signature(step) != self._signed.get(n)
            }
        for n in touched:
            self._signed[n] = self._signature(self._steps[n])
        return touched

    def _signature(self, step: RecordedStep) -> tuple[Any, ...]:
        """What entries of other steps may change about a row."""
        outcome = step.outcome.seq if step.outcome is not None else 0
        return outcome, step.history or id(step) in self._abandoned, self.index.replays(step)

    def _close_session(self) -> None:
        if (
            self._sessions and self._sessions[-1][1] is None
        ):  # a process was killed: its last entry is all there is
            self._sessions[-1] = (self._sessions[-1][0], self._last_at)

    def _turn(self, touched: set[int], *, first: bool) -> None:
        newest = sorted(touched)[-_EAGER:]
        for n in newest:
            self.texts.make(n, self._steps[n])
        self._count(touched)
        self.mark += 1
        for at, n in enumerate(sorted(touched)):
            if at and at % PORTION == 0:
                self.mark += 1  # so that portions have marks of their own
            self._changed.pop(n, None)
            self._changed[n] = self.mark
        for number in {self._steps[n].scope for n in touched} if not first else self.index.scopes:
            while number not in (ROOT, *self._lanes):
                self._lanes[number] = self.mark
                number = self.index.scopes[number].parent
        for step in self._steps if len(self._steps) > 5000 and first else ():
            forget(step)

    # -- pages -----------------------------------------------------------------------------------

    def pages(self, since: int = 0) -> Iterator[Page]:
        """What changed after `since`, in portions; at least one page, for the run's head."""
        found: list[int] = []
        for n, mark in reversed(self._changed.items()):
            if mark <= since:
                break
            found.append(n)
        found.reverse()
        start, before = 0, since
        while True:
            end, mark = start, self.mark
            if found[start:]:
                mark = self._changed[found[start]]
                while end < len(found) and self._changed[found[end]] == mark:
                    end += 1
            more = end < len(found)
            if not more:
                mark = self.mark
            yield self._page(before, mark, [self.row(n) for n in found[start:end]], since, more=more)
            if not more:
                return
            start, before = end, mark

    def _page(self, since: int, mark: int, rows: list[Row], asked: int, *, more: bool) -> Page:
        # All lanes go with the first portion: a row never comes before its lane.
        first = since == asked
        lanes = [self.lane(number) for number, when in self._lanes.items() if when > asked] if first else []
        page: Page = {
            "v": 1,
            "feed": self.id,
            "since": since,
            "mark": mark,
            "run": self.head(),
            "lanes": lanes,
            "rows": rows,
            "waits": self._waits,
        }
        if more:
            page["more"] = True
        if self.skipped:
            page["left_out"] = self.skipped
        return page

    def excerpt(self, most: int) -> Page:
        """One page for those who will not ask again: the newest rows, and older ones that need somebody."""
        total = len(self._steps)
        chosen = set(range(max(total - most, 0), total))
        if len(chosen) < total:
            old = [n for n, step in enumerate(self._steps) if step.outcome is None or step.status == "failed"]
            chosen |= set(old[-most // 4 :])
        rows = [self._told(n) for n in sorted(chosen)[-most:]]
        used = {row["lane"] for row in rows}
        lanes = [self.lane(number) for number in self._lanes if number in self._around(used)]
        page = self._page(0, self.mark, rows, -1, more=False)
        page["lanes"] = lanes
        if left := page["run"]["steps"] - len(rows):
            page["left_out"] = left
        else:
            page.pop("left_out", None)
        return page

    def _around(self, numbers: Iterable[int]) -> set[int]:
        found: set[int] = set()
        for number in numbers:
            while number not in (ROOT, *found) and number in self.index.scopes:
                found.add(number)
                number = self.index.scopes[number].parent
        return found

    def _told(self, n: int) -> Row:
        self.texts.make(n, self._steps[n])
        return self.row(n)

    def told(self, numbers: Iterable[int]) -> list[Row]:
        """The rows with these numbers, with what they say."""
        return [self._told(n) for n in numbers if 0 <= n < len(self._steps)]

    def step(self, step_id: str) -> RecordedStep | None:
        """The step of that id."""
        scope, _, pos = step_id.partition(".")
        return self.index.step(int(scope), int(pos)) if scope.isdigit() and pos.isdigit() else None

    # -- rows ------------------------------------------------------------------------------------

    def lane(self, number: int) -> Lane:
        """A scope as a lane."""
        scope = self.index.scopes[number]
        depth, up = 0, scope
        while up.id != MAIN and up.parent in self.index.scopes:
            depth, up = depth + 1, self.index.scopes[up.parent]
        lane: Lane = {
            "id": number,
            "parent": scope.parent,
            "name": self._name(number),
            "depth": depth,
        }
        if scope.key.startswith("@"):
            lane["step"] = f"{scope.parent}.{scope.key[1:].split('.')[0]}"
        return lane

    def _name(self, number: int) -> str:
        """A scope's path; the second of that path, and those after it, with a number."""
        name = mask(scope_path(self.index, number))
        known = self._names.setdefault(name, [])
        if number not in known:
            known.append(number)
        place = known.index(number)
        return f"{name} ({place + 1})" if place else name

    def row(self, n: int) -> Row:
        """A step as a row."""
        step, index = self._steps[n], self.index
        status, alive, _ = self._state
        wait = (
            next((w for w in self._waits if w.get("step") == step.id), None) if step.outcome is None else None
        )
        old = step.history or id(step) in self._abandoned
        row: Row = {
            "n": n,
            "id": step.id,
            "lane": step.scope,
            "kind": step.kind,
            "name": mask(step.name),
            "status": step_status(
                step, alive=alive, waiting=status == "waiting", left=index.leaves(self._abandoned)(step)
            ),
            "at": step.opened_at,
        }
        if wait is not None and not old:
            row["wait"] = wait
            if wait["kind"] != "doubt":
                row["status"] = "waiting"
        if step.ended_at is not None:
            row["end"] = step.ended_at
        if (took := index.took(step)) is not None:
            row["took"] = took
        if step.attempts > 1:
            row["attempts"] = step.attempts
        if replays := index.replays(step):
            row["replays"] = replays
        if step.effect != "retryable":
            row["effect"] = step.effect
        if (by := given(step)) is not None:
            row["given"] = by
        if old:
            row["old"] = True
        if step.seq <= index.base_seq:
            row["taken"] = True
        if (text := self.texts.get(n)) is not None:
            row["call"] = text.call
            if text.says is not None:
                row["says"] = text.says
            if text.stream:
                row["text"] = text.stream
        if (progress := self._progress.get((step.scope, step.pos))) is not None and step.outcome is None:
            row["progress"] = progress
        if step.output:
            row["output"] = True
        if step.notes:
            row["log"] = logged(step.notes)
        self._spend(row, step, replays)
        return row

    def _spend(self, row: Row, step: RecordedStep, replays: int) -> None:
        said = spend.used(step)
        if said is None or step.outcome is None:
            return
        money = spend.cost(said, step.outcome.at, self._sight.price)
        row["tokens"] = [said.get("input") or 0, said.get("output") or 0, said.get("cached") or 0]
        if said.get("model"):
            row["model"] = mask(str(said["model"]))
        if money is not None:
            row["cost"] = money
            if replays:
                row["saved"] = money * replays

    # -- the run ---------------------------------------------------------------------------------

    def head(self) -> RunHead:
        """The run."""
        record, index = self.record, self.index
        _, alive, owner = self._state
        counts, spent, steps = self._sums()
        sessions = [(a, b if b is not None or alive else self._last_at) for a, b in self._sessions]
        head: RunHead = {
            "id": record.id,
            "name": mask(record.name),
            "status": run_status(record, alive=alive),
            "now": self._sight.now(),
            "created": record.created_at,
            "updated": record.updated_at,
            "sessions": sessions,
            "steps": steps,
            "counts": counts,
            "cost": spent.cost,
            "saved": spent.saved,
            "calls": spent.usage.calls,
            "tokens": [spent.usage.input, spent.usage.output, spent.usage.cached],
            "unpriced": spent.usage.unpriced,
        }
        if record.notebook:
            head["notebook"] = mask(record.notebook)
        if owner is not None and alive:
            head["owner"] = mask(str(owner))
        self._relatives = self._relatives or self._sight.relatives(record)
        parent, forks = self._relatives
        if parent is not None:
            head["parent"] = parent
        if forks:
            head["forks"] = forks
        if (progress := self._progress.get((ROOT, 0))) is not None:
            head["progress"] = progress
        if index.notes:
            head["log"] = logged(index.notes)
        closed = index.closed
        if closed is not None and closed.meta.get("x"):
            head["error"] = one_line(str(closed.meta["x"]))
        return head

    def _sums(self) -> tuple[Counts, spend.Spend, int]:
        """How many steps are in which state, what was spent, and how many steps there are."""
        index, closed = self.index, self.index.closed
        if self.skipped:
            told: tuple[Any, Any] = (tally.kept(closed), spend.kept(closed))
            if closed is None and self._sight.tallied is not None:
                told = self._sight.tallied()
            if told[0] is not None and told[1] is not None:
                counts = no_counts()
                status, alive, _ = self._state
                for state, number in told[0].items():
                    counts[status_of(state, alive=alive, waiting=status == "waiting")] += number
                return counts, told[1], sum(told[0].values())
        self._spent = self._spent or spend.spend(index, self._sight.price)
        return self._counts, self._spent, len(self._steps) + self.skipped

    def _count(self, touched: set[int]) -> None:
        status, alive, _ = self._state
        waiting = {w.get("step") for w in self._waits if w["kind"] != "doubt"}
        counts: dict[str, int] = self._counts  # type: ignore[assignment]
        for n in touched:
            step = self._steps[n]
            states: tuple[str, ...]
            if step.history or id(step) in self._abandoned:
                states = ()
            elif step.outcome is None and step.id in waiting:
                states = ("waiting",)
            else:
                left = self.index.leaves(self._abandoned)(step)
                found = step_status(step, alive=alive, waiting=status == "waiting", left=left)
                states = (
                    (found, "replayed") if found == "completed" and self.index.replays(step) else (found,)
                )
            for state in self._states.get(n, ()):
                counts[state] -= 1
            for state in states:
                counts[state] += 1
            self._states[n] = states
