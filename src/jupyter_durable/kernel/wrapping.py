"""`--tool`: plain functions of the notebook are tools for one cell, and then what they were.

Those that are there when the cell begins are replaced in the namespace; those that the cell itself defines, or defines
anew, come here as they are defined (`kernel.decorating`). Whoever got hold of a function before (a list, a partial, an agent made
in an earlier cell) has the plain one.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from fnmatch import fnmatchcase
from types import FunctionType
from typing import Any

from IPython.core.error import UsageError

from jupyter_durable.capture.functions import wrap
from jupyter_durable.kernel.decorating import Function, TopLevel
from jupyter_durable.runtime.step import Spec


class WrappedTools:
    """The functions that match `patterns`, for the time of the cell whose code is `source`.

    Raises `UsageError` for a pattern that matches nothing.
    """

    def __init__(self, shell: Any, patterns: Sequence[str], source: str) -> None:
        self._ns: dict[str, Any] = shell.user_ns
        self._patterns = tuple(patterns)
        self._made: list[tuple[str, Any, Any]] = []  # name, what it was, what stands for it
        if self._patterns:
            self._put_in(_defined(shell, source))

    def _put_in(self, defined: set[str]) -> None:
        ns = self._ns
        for pattern in self._patterns:
            found = [name for name, value in ns.items() if _fits(name, pattern) and _is_plain(value)]
            if not found and not any(_fits(name, pattern) for name in defined):
                raise UsageError(_no_match(pattern, ns))
            for name in found:
                if not hasattr(ns[name], "__durable__"):
                    self._made.append((name, ns[name], wrap(ns[name], Spec(name))))
        for name, _, wrapper in self._made:
            ns[name] = wrapper

    def take(self, name: str, fn: Any) -> Any:
        """What the cell has just defined as `name`: as a tool, if it is to be one."""
        plain = not callable(fn) or isinstance(fn, type) or hasattr(fn, "__durable__")
        if plain or not any(_fits(name, pattern) for pattern in self._patterns):
            return fn
        wrapper = wrap(fn, Spec(name))
        self._made.append((name, fn, wrapper))
        return wrapper

    def put_back(self) -> None:
        """Everything is what it was. May be repeated."""
        for name, original, wrapper in self._made:
            if self._ns.get(name) is wrapper:  # else the cell has made something else of it
                self._ns[name] = original
        self._made = []


def _fits(name: str, pattern: str) -> bool:
    return not name.startswith("_") and fnmatchcase(name, pattern)


def _is_plain(value: Any) -> bool:
    return isinstance(value, FunctionType)


def _defined(shell: Any, source: str) -> set[str]:
    """The functions that a cell defines at its top level."""
    try:
        tree = ast.parse(shell.transform_cell(source))
    except (SyntaxError, ValueError):  # the cell's own error to show
        return set()
    found: set[str] = set()

    def note(node: Function) -> None:
        found.add(node.name)

    TopLevel(note).visit(tree)
    return found


def _no_match(pattern: str, ns: dict[str, Any]) -> str:
    others = [name for name, value in ns.items() if _fits(name, pattern) and callable(value)]
    if others:
        kind = "a class" if isinstance(ns[others[0]], type) else f"a {type(ns[others[0]]).__name__}"
        return (
            f"%%durable: --tool {pattern!r} matches {others[0]}, which is {kind} and no function of the notebook\n"
            f"  hint: put @durable.tool on the function or method that does the work"
        )
    return (
        f"%%durable: --tool {pattern!r} matches no function of the notebook\n"
        f"  hint: define it in this cell or in one before it, or put @durable.tool on it"
    )
