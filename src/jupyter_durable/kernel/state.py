"""What was done to a definition after it was made: class attributes that changed, attributes set on functions.

Executing `class Agent: calls = 0` again gives a class that was never called. The attributes that differ
from what the statement says are captured as values of their own, under names like `Agent.calls`.
"""

from __future__ import annotations

import ast
from abc import ABCMeta
from collections.abc import Mapping, MutableMapping
from types import FunctionType
from typing import Any

from jupyter_durable.kernel.names import stores
from jupyter_durable.kernel.statements import Definition, StatementLog

_PLAIN = (bool, int, float, complex, str, bytes, type(None), list, tuple, dict, set, frozenset)


def state_of(definition: Definition, value: object, log: StatementLog) -> dict[str, Any]:
    """The attributes, by name, that executing the definition again would not bring back."""
    if isinstance(value, FunctionType):
        held: Mapping[str, Any] = value.__dict__
        own = set(held)
    elif isinstance(value, type) and type(value) in (type, ABCMeta):
        held = vars(value)
        own = _changed(definition.node, held)
    else:
        return {}
    own = {name for name in own if type(held[name]) in _PLAIN}
    own |= log.patched(definition.name, definition.order)
    return {name: held[name] for name in sorted(own) if name in held and not name.startswith("__")}


def _changed(node: ast.AST, held: Mapping[str, Any]) -> set[str]:
    """The names a class body binds, without those that still are the literals written there."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    names = set(stores(body)) & held.keys()
    for statement in body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=written)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as written)
            ) if name in names:
                try:
                    if repr(ast.literal_eval(written)) == repr(held[name]):
                        names.discard(name)
                except (ValueError, TypeError, SyntaxError):
                    continue
    return names


def is_plain(attributes: Mapping[str, Any]) -> bool:
    """Whether `state_of` captures all of a function's attributes."""
    return all(type(value) in _PLAIN for value in attributes.values())


ABSENT: Any = object()


def lookup(name: str, ns: Mapping[str, Any]) -> Any:
    """The value of `name` or of `Definition.attribute`; `ABSENT` if there is none."""
    root, _, attribute = name.partition(".")
    found = ns.get(root, ABSENT)
    if not attribute or found is ABSENT:
        return found
    return found.__dict__.get(attribute, ABSENT) if hasattr(found, "__dict__") else ABSENT


def assign(name: str, value: Any, ns: MutableMapping[str, Any]) -> None:
    """Bind what `lookup` looks up."""
    root, _, attribute = name.partition(".")
    if attribute:
        setattr(ns[root], attribute, value)
    else:
        ns[root] = value
