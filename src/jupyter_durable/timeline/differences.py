"""Two journals side by side: which steps are the same, which differ, and where they part. Pure.

    align ── scopes by key, steps in them by call ── pairs, and what only one side has

Strands are told by what spawned them, steps by their place among the calls of their strand: so it makes no
difference in which order tasks happened to go, and one step more does not shift all that follow.
"""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from typing import Any, Literal

from jupyter_durable.journal.index import MAIN, Index, RecordedScope, RecordedStep

Pair = tuple[RecordedStep | None, RecordedStep | None]
"""A step of the one run and of the other; None where it has none."""

_MOST = 400  # lines of one value's diff
_LONGEST = 4000  # lines of a value that are compared


def align(a: Index, b: Index) -> list[Pair]:
    """The steps of two runs, paired, in the order of the first; history and what forks left behind is not among them."""
    found: list[Pair] = []
    _scopes(a, b, a.scopes[MAIN], b.scopes[MAIN], found)
    known = sorted((y.seq, x.seq) for x, y in found if x is not None and y is not None)
    highest: list[int] = []
    for _, seq in known:
        highest.append(max(seq, highest[-1] if highest else 0))

    def place(pair: Pair) -> tuple[int, int]:
        x, y = pair
        if x is not None:
            return x.seq, 0
        assert y is not None
        before = bisect_right(known, (y.seq, 1 << 62))
        return (highest[before - 1] if before else 0), y.seq

    return sorted(found, key=place)


def _scopes(a: Index, b: Index, x: RecordedScope | None, y: RecordedScope | None, found: list[Pair]) -> None:
    pairs = _steps(x.steps if x is not None else (), y.steps if y is not None else ())
    found += pairs
    for one, other in pairs:
        inner = a.inside(one) if one is not None else None, b.inside(other) if other is not None else None
        if inner != (None, None):
            _scopes(a, b, *inner, found)
    for one_, other_ in _strands(_below(a, x), _below(b, y)):
        _scopes(a, b, one_, other_, found)


def _below(index: Index, scope: RecordedScope | None) -> list[RecordedScope]:
    below = index.below.get(scope.id, ()) if scope is not None else ()
    return [child for child in below if not child.dropped and not child.key.startswith("@")]


def _strands(
    xs: list[RecordedScope], ys: list[RecordedScope]
) -> Iterable[tuple[RecordedScope | None, RecordedScope | None]]:
    """By what spawned them and their arguments; what is left by what spawned them, in order."""
    for key_of in (_key, _function):
        waiting: dict[str, list[RecordedScope]] = {}
        for y in sorted(ys, key=lambda scope: scope.n):
            waiting.setdefault(key_of(y), []).append(y)
        left: list[RecordedScope] = []
        for x in sorted(xs, key=lambda scope: scope.n):
            if others := waiting.get(key_of(x)):
                yield x, others.pop(0)
            else:
                left.append(x)
        xs, ys = left, [y for others in waiting.values() for y in others]
    yield from ((x, None) for x in xs)
    yield from ((None, y) for y in ys)


def _key(scope: RecordedScope) -> str:
    return scope.key


def _function(scope: RecordedScope) -> str:
    return scope.key.partition("~")[0]


def _steps(xs: Sequence[RecordedStep], ys: Sequence[RecordedStep]) -> list[Pair]:
    """First equal calls, then those between them that are of the same name."""
    found: list[Pair] = []
    first = 0
    while first < min(len(xs), len(ys)) and _call(xs[first]) == _call(ys[first]):
        found.append((xs[first], ys[first]))
        first += 1
    xs, ys = xs[first:], ys[first:]
    for tag, i, j, k, m in _matched([_call(x) for x in xs], [_call(y) for y in ys]):
        if tag == "equal":
            found += zip(xs[i:j], ys[k:m], strict=True)
            continue
        for also, i_, j_, k_, m_ in _matched([_name(x) for x in xs[i:j]], [_name(y) for y in ys[k:m]]):
            if also == "equal":
                found += zip(xs[i + i_ : i + j_], ys[k + k_ : k + m_], strict=True)
            else:
                found += [(x, None) for x in xs[i + i_ : i + j_]]
                found += [(None, y) for y in ys[k + k_ : k + m_]]
    return found


def _matched(xs: list[Any], ys: list[Any]) -> Sequence[tuple[str, int, int, int, int]]:
    return difflib.SequenceMatcher(None, xs, ys, autojunk=False).get_opcodes()


def _call(step: RecordedStep) -> tuple[str, str, str]:
    return step.kind, step.name, step.digest


def _name(step: RecordedStep) -> tuple[str, str]:
    return step.kind, step.name


def unified(a: str, b: str) -> tuple[str, ...]:
    """Two texts as the lines of a diff, with ` `, `-` and `+` in front; none if they are equal.

    >>> unified("a\\nb", "a\\nc")
    (' a', '-b', '+c')
    """
    if a == b:
        return ()
    xs, ys = a.splitlines(), b.splitlines()
    lines = list(difflib.unified_diff(xs[:_LONGEST], ys[:_LONGEST], n=3, lineterm=""))[2:]
    found = [line for n, line in enumerate(lines) if not (n == 0 and line.startswith("@@"))]
    if not found:  # they differ in what is too long to compare, or in how lines end
        return (f"-{len(a):,} characters", f"+{len(b):,} characters, others")
    return (*found[:_MOST], *([f" … {len(found) - _MOST} more lines"] if len(found) > _MOST else []))


# -- what it says ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepDiff:
    """One step that differs. `a` and `b` are its ids; None: that run has none.

    `call` is the call on one line, as the second run made it (or the first, if only that did). `arguments` and `result`
    are lines of a diff, empty where they are equal; for a step of one run alone, `result` is what it gave. Of a model call they
    are messages. Everything is text for people, with secrets masked.
    """

    change: Literal["changed", "added", "missing"]
    a: str | None
    b: str | None
    kind: str
    name: str
    call: str
    arguments: tuple[str, ...] = ()
    result: tuple[str, ...] = ()

    @property
    def at(self) -> str:
        """Its ids as people read them: `1.4`, or `1.4 → 1.6`."""
        if self.a is not None and self.b is not None and self.a != self.b:
            return f"{self.a} → {self.b}"
        return str(self.a or self.b)

    @property
    def what(self) -> str:
        """What differs, in words."""
        if self.change != "changed":
            return {"added": "only in the second", "missing": "only in the first"}[self.change]
        parts = [name for name in ("arguments", "result") if getattr(self, name)]
        return f"other {' and '.join(parts)}"


@dataclass(frozen=True, slots=True)
class RunDiff:
    """Two runs, compared: `durable.diff(a, b)`.

    `a` and `b` are the runs' ids, `names` and `statuses` theirs. `equal` is the number of steps that are the same in both,
    `shared` of those that the two have from one journal. `steps` differ, in journal order: the first is where the runs part.
    """

    a: str
    b: str
    names: tuple[str, str]
    statuses: tuple[str, str]
    equal: int
    shared: int
    steps: tuple[StepDiff, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.steps

    @property
    def first(self) -> StepDiff | None:
        """Where they part."""
        return self.steps[0] if self.steps else None

    @property
    def head(self) -> str:
        """The comparison in a line."""
        runs = " and ".join(
            f"{name} {run[:13]} ({status})"
            for name, run, status in zip(self.names, (self.a, self.b), self.statuses, strict=True)
        )
        own = f", {self.shared} of them from one journal" if self.shared else ""
        equal = f"{self.equal} step{'s' if self.equal != 1 else ''} equal{own}"
        if self.first is None:
            return f"{runs}: {equal}; nothing differs"
        return f"{runs}: {equal}; first differs at step {self.first.at} {self.first.name}"

    def __str__(self) -> str:
        lines = [self.head]
        for step in self.steps:
            lines.append(f"{step.at}  {step.call}  {step.what}")
            lines += [f"    {line}" for _, part in _parts(step) for line in part]
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self.html()}

    def html(self) -> str:
        """The same as inert HTML."""
        found = [f'<div style="{_FONT}"><div>{escape(self.head)}</div>']
        for n, step in enumerate(self.steps):
            head = f"<b>{escape(step.at)}</b> <code>{escape(step.call)}</code> {escape(step.what)}"
            found.append(
                f'<details{" open" if n == 0 else ""} style="margin:4px 0"><summary>{head}</summary>'
            )
            for title, lines in _parts(step):
                found.append(f'<div style="margin:4px 0 0 16px">{title}</div>')
                rows = "".join(
                    f'<div style="{_TINTS.get(line[:1], "")}">{escape(line) or " "}</div>' for line in lines
                )
                found.append(f'<pre style="{_PRE}">{rows}</pre>')
            found.append("</details>")
        return "".join([*found, "</div>"])


_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-ui-font-size1,13px)"
_PRE = "margin:2px 0 2px 16px;white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px"
_TINTS = {
    "+": "background:rgba(56,142,60,.18)",
    "-": "background:rgba(211,47,47,.18)",
    "@": "opacity:.6",
}


def _parts(step: StepDiff) -> list[tuple[str, tuple[str, ...]]]:
    return [(name, lines) for name in ("arguments", "result") if (lines := getattr(step, name))]


def beside(a: Sequence[tuple[str, str]], b: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Two conversations as a diff of messages: those that are equal are one line each.

    >>> beside([("user", "hi"), ("assistant", "a")], [("user", "hi"), ("assistant", "b")])
    (' user: hi', '-assistant: a', '+assistant: b')
    """
    if list(a) == list(b):
        return ()
    found: list[str] = []
    for tag, i, j, k, m in _matched(list(a), list(b)):
        if tag == "equal":
            found += [f" {role}: {_brief(text)}" for role, text in a[i:j]]
            continue
        for x, y in zip_longest(a[i:j], b[k:m]):
            if x is not None and y is not None and x[0] == y[0] and "\n" in x[1] + y[1]:
                found += [f" {x[0]}:", *unified(x[1], y[1])]
                continue
            found += [f"-{x[0]}: {x[1]}".replace("\n", "\n-")] if x is not None else []
            found += [f"+{y[0]}: {y[1]}".replace("\n", "\n+")] if y is not None else []
    lines = tuple(line for text in found for line in text.split("\n"))
    return lines[:_MOST]


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:99]}…"
