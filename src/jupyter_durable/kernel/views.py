"""What of a captured value is digested.

The codec's digest leaves objects that compare by identity out, for among the arguments of a call these
are clients and callbacks. In the namespace they are agents and memories, whose change matters: here
instances of the user's own classes show their attributes.
"""

from __future__ import annotations

from typing import Any

from jupyter_durable.kernel.reach import ATOMS, attributes
from jupyter_durable.kernel.statements import Namespace
from jupyter_durable.runtime.local import is_local


def view(value: Any, ns: Namespace) -> Any:
    """`value`, with instances of classes of the notebook and of local modules replaced by what they hold.

    >>> class Agent: pass
    >>> agent = Agent(); agent.memory = ["hi"]; agent.me = agent
    >>> view([agent], {"__name__": __name__})
    [('Agent', {'memory': ['hi'], 'me': 'cycle 1'})]
    """
    try:
        return _view(value, ns, {}, 0)
    except RecursionError:
        return value  # the codec has its own way with what is nested that deep


def _view(value: Any, ns: Namespace, done: dict[int, Any], depth: int) -> Any:
    kind = type(value)
    if kind in ATOMS or not (kind in (list, tuple, dict) or _is_own(kind, ns)):
        return value
    if id(value) in done:
        return done[id(value)]
    done[id(value)] = f"cycle {depth}"
    found: Any
    if kind is dict:
        found = {key: _view(part, ns, done, depth + 1) for key, part in value.items()}
    elif kind is list or kind is tuple:
        found = kind(_view(part, ns, done, depth + 1) for part in value)
    else:
        held = attributes(value)
        found = kind.__qualname__, {name: _view(part, ns, done, depth + 1) for name, part in held.items()}
    done[id(value)] = found
    return found


def _is_own(kind: type, ns: Namespace) -> bool:
    own = kind.__module__ == ns.get("__name__") or is_local(kind.__module__)
    by_identity = next(base for base in kind.__mro__ if "__eq__" in vars(base)) is object
    return own and by_identity and not issubclass(kind, type)
