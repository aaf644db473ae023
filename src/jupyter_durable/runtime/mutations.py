"""Arguments that a tool changed in place: what a list, dict or set holds now, to be put there again.

Containers keep their identity on replay, as do the containers inside them that are still where they
were: whoever else holds a reference sees the change, as when it was made. What is changed in an object of the
user's own (`self.count += 1`), an array or a frame is not made again, and said.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any, NamedTuple

from jupyter_durable.codec.canonical import canonical_text
from jupyter_durable.codec.plain import ATOMS
from jupyter_durable.runtime.local import is_local

_CONTAINERS = (list, dict, set)
_DEEPEST = 3  # objects in objects that are looked at
_MOST = 500  # attributes, and items of containers in them


class _Was(NamedTuple):
    """What one attribute held before the call; `items`: what was in it, if it is a container."""

    label: str
    holder: dict[str, Any]
    attr: str
    value: Any
    items: list[Any] | None


class Held(NamedTuple):
    """What arguments hold before a call: `own`, objects of the user's own classes, for `altered`; `others`, for `changes`."""

    own: list[_Was]
    others: dict[str, str]


def held(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Held:
    """What can be told from what it is later, apart from the arguments' digest."""
    own: list[_Was] = []
    values = (*args, *kwargs.values())
    for value in values:
        if type(value) not in ATOMS and type(value) not in _CONTAINERS and _is_own(value):
            _hold(value, own, set(), 0)
    # The digest says whether anything has changed: which of them must be known only where there are both.
    both = any(type(value) in _CONTAINERS for value in values) and any(map(_may_change, values))
    named = _named(args, kwargs) if both else {}
    return Held(own, {name: canonical_text(value) for name, value in named.items() if _may_change(value)})


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {**{str(place): value for place, value in enumerate(args)}, **kwargs}


def _hold(value: Any, found: list[_Was], seen: set[int], depth: int) -> None:
    seen.add(id(value))
    kind, holder = type(value), vars(value)
    for attr, item in list(holder.items()):
        if attr.startswith("_") or len(found) >= _MOST:
            continue
        items = _items(item)
        found.append(_Was(f"{kind.__name__}.{attr}", holder, attr, item, items))
        for inside in (item, *(items or ())):
            if depth < _DEEPEST and type(inside) not in ATOMS and id(inside) not in seen and _is_own(inside):
                _hold(inside, found, seen, depth + 1)
    found.append(_Was(f"{kind.__name__}.", holder, "", kind, [*holder]))


def altered(before: list[_Was]) -> list[str]:
    """Which attributes hold something else now, like `Agent.count`.

    >>> class Agent: ...
    >>> agent = Agent()
    >>> agent.__dict__.update(count=0, log=[])
    >>> before: list[_Was] = []
    >>> _hold(agent, before, set(), 0)
    >>> agent.log.append("asked"); agent.name = "Ann"
    >>> altered(before)
    ['Agent.log', 'Agent.name']
    """
    labels: dict[str, None] = {}
    for was in before:
        if not was.attr:
            more = [attr for attr in was.holder if attr not in was.items]  # type: ignore[operator]
            labels |= {
                was.label + attr: None
                for attr in more
                if not attr.startswith("_")
                and not isinstance(getattr(was.value, attr, None), cached_property)
            }
        else:
            now = was.holder.get(was.attr, was)
            if not _same(now, was.value) or (was.items is not None and not _all_same(_items(now), was.items)):
                labels[was.label] = None
    return [*labels]


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and type(one) in ATOMS and one == other)


def _all_same(now: list[Any] | None, was: list[Any]) -> bool:
    return now is not None and len(now) == len(was) and all(map(_same, now, was))


def _items(value: Any) -> list[Any] | None:
    """What a container holds, if that is not too much to be looked at."""
    if type(value) not in _CONTAINERS or len(value) > _MOST:
        return None
    return [*value, *value.values()] if isinstance(value, dict) else [*value]


def _is_own(value: Any) -> bool:
    module = type(value).__module__
    return hasattr(value, "__dict__") and (module == "__main__" or is_local(module))


def changes(
    args: tuple[Any, ...], kwargs: dict[str, Any], before: dict[str, str]
) -> tuple[dict[str, Any] | None, list[str]]:
    """The containers among the arguments as they are now, and the names of the others that have changed.

    Called only if the digest of the arguments has changed. `before`: `Held.others`.
    """
    named = _named(args, kwargs)
    kept = {name: value for name, value in named.items() if type(value) in _CONTAINERS}
    others = [
        f"{name} (a {type(value).__name__})"
        for name, value in named.items()
        if _may_change(value) and (not kept or canonical_text(value) != before.get(name))
    ]
    return (kept or None), others


def _may_change(value: Any) -> bool:
    kind = type(value)
    if kind in _CONTAINERS or callable(value) or _is_own(value):  # own ones: see `altered`
        return False
    return hasattr(value, "__dict__") or hasattr(kind, "__setitem__")


def apply(
    recorded: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, shared: bool = False
) -> None:
    """Make the containers among the arguments what `recorded` says.

    `shared`: other strands have changed them since the call. What was recorded may be their doing, and what is
    there now is: it stays, and is added to only if something is missing.

    >>> messages = ["q"]
    >>> apply({"0": ["q", "a"]}, (messages,), {})
    >>> messages
    ['q', 'a']
    """
    for name, value in recorded.items():
        target = args[int(name)] if name.isdigit() else kwargs.get(name)
        if type(target) is type(value):
            _join(target, value) if shared else _become(target, value)


def _join(target: Any, value: Any) -> None:
    """`target` with all that `value` has and what it has itself besides.

    >>> several = ["q", "by another"]
    >>> _join(several, ["q", "by the call"])
    >>> several
    ['q', 'by the call', 'by another']
    """
    if isinstance(value, list):
        wanted = [canonical_text(item) for item in value]
        there = [canonical_text(item) for item in target]
        rest = iter(there)
        if not all(item in rest for item in wanted):  # in that order
            missing = Counter(wanted)
            more = []
            for item, text in zip(target, there, strict=True):
                missing[text] -= 1
                if missing[text] < 0:
                    more.append(item)
            target[:] = [*value, *more]
    elif isinstance(value, dict):
        target.update(value)
    else:
        target |= value


def _become(target: Any, value: Any) -> Any:
    """`target` changed to equal `value` if both are containers of one type, else `value`."""
    if type(target) is not type(value) or type(value) not in _CONTAINERS:
        return value
    if isinstance(value, list):
        target[:] = [
            _become(target[place], item) if place < len(target) else item for place, item in enumerate(value)
        ]
    elif isinstance(value, dict):
        held = {name: _become(target[name], item) if name in target else item for name, item in value.items()}
        target.clear()
        target.update(held)
    else:
        target.clear()
        target.update(value)
    return target
