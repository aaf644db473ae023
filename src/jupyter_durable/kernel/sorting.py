"""The order in which captured names are restored, so that each finds what it needs. Pure.

A value needs the definitions it refers to (*firm*: it cannot be rebuilt without). A definition needs
data for its defaults, its class body, its decorators and what these read (*loose*). The two may form a
circle: `TOOLS = {}`, a decorator that writes into TOOLS, a function it decorates. Then the definition
goes first, with an empty stand-in for the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Edges = Mapping[str, Iterable[str]]


def arrange(age: Mapping[str, int], firm: Edges, loose: Edges) -> list[str]:
    """All names of `age`, older ones first where the edges (to what must come before) leave a choice.

    >>> arrange({"TOOLS": 1, "search": 2}, {"TOOLS": ["search"]}, {"search": ["TOOLS"]})
    ['search', 'TOOLS']
    """
    done: dict[str, None] = {}
    entered: set[str] = set()

    def visit(name: str) -> None:
        if name in entered or name not in age:
            return
        entered.add(name)
        for other in loose.get(name, ()):
            if not leads(other, name, firm, loose):
                visit(other)
        for other in firm.get(name, ()):
            visit(other)
        done[name] = None

    for name in sorted(age, key=age.__getitem__):
        visit(name)
    return list(done)


def leads(start: str, goal: str, *graphs: Edges) -> bool:
    """Whether edges lead from `start` to `goal`."""
    seen: set[str] = set()
    stack = [start]
    while stack:
        name = stack.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            for edges in graphs:
                stack.extend(edges.get(name, ()))
    return False
