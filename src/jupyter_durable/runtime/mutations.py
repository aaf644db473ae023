"""Arguments that a tool changed in place: what a list, dict or set holds now, to be put there again.

Containers keep their identity on replay, as do the containers inside them that are still where they
were: whoever else holds a reference sees the change, as when it was made.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from jupyter_durable.codec.canonical import canonical_text

_CONTAINERS = (list, dict, set)


def changes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """The containers among the arguments as they are now, and the names of the other arguments that can change.

    Called only if the digest of the arguments has changed.
    """
    named = {**{str(place): value for place, value in enumerate(args)}, **kwargs}
    held = {name: value for name, value in named.items() if type(value) in _CONTAINERS}
    others = [f"{name} (a {type(value).__name__})" for name, value in named.items() if _may_change(value)]
    return (held or None), ([] if held else others)


def _may_change(value: Any) -> bool:
    return type(value) not in _CONTAINERS and hasattr(value, "__dict__") and not callable(value)


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
