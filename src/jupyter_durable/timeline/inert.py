"""Stored values as people may look at them: nothing is imported, unpickled or called that the store names.

`codec.reader` makes values again; this makes what shows them. An instance becomes its class's name and
its fields, a pickle the word for it, a secret dots. So a server that has none of the notebook's code can show
every value, and one that has it runs none of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jupyter_durable.codec import Codec
from jupyter_durable.codec.display import show
from jupyter_durable.codec.kinds import kind_tagged
from jupyter_durable.codec.plain import loads
from jupyter_durable.codec.reader import Hidden, Reader
from jupyter_durable.errors import DurableError
from jupyter_durable.model import Chunk, Payload

_MODULES = re.compile(r"^.*[:.]")


class Shown:
    """Stands for an instance: `name` of its class, its `fields`, and `items` if it is a container.

    >>> Shown("Point", {"x": 1})
    Point(x=1)
    """

    __slots__ = ("fields", "items", "name")

    def __init__(self, name: str, fields: Mapping[str, Any], items: Any = None) -> None:
        self.name = name
        self.fields = fields
        self.items = items

    def __repr__(self) -> str:
        parts = [show(item, 80) for item in (self.items or ())]
        parts += [f"{name}={show(value, 80)}" for name, value in self.fields.items()]
        return f"{self.name}({', '.join(parts)})"


class Failure(Shown):
    """Stands for an exception; `frames` are file, function, line number and line of its traceback."""

    __slots__ = ("cause", "frames", "members")

    def __init__(self, name: str, args: list[Any], parts: Mapping[str, Any]) -> None:
        super().__init__(name, {}, args)
        self.frames = [frame for frame in parts.get("tb", ()) if isinstance(frame, list) and len(frame) == 4]
        self.cause = parts.get("cause") or (None if parts.get("suppress") else parts.get("context"))
        self.members = list(parts.get("m", ()))

    def __repr__(self) -> str:
        args = list(self.items)
        return (
            f"{self.name}: {args[0]}" if len(args) == 1 and isinstance(args[0], str) else super().__repr__()
        )


class Named:
    """Stands for a class or function, or for what is kept in no readable form."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


PICKLED = Named("<pickled>")


class InertReader(Reader):
    """A `Reader` for people."""

    def __init__(
        self, codec: Codec, bind: str, load: Callable[[bytes], Chunk], *, signed: bool, wrapped: bool
    ) -> None:
        super().__init__(codec, bind, load, signed=signed, wrapped=wrapped, hide=True)
        self._own["ref"] = lambda node: Named(class_name(node["v"]))
        self._own["pickle"] = lambda node: PICKLED
        self._own["sealed"] = lambda node: Hidden()

    def _node(self, node: dict[str, Any]) -> Any:
        tag = node.get("$")
        if tag is None or tag in self._own:
            return super()._node(node)
        kind = kind_tagged(tag) if tag not in _INERT else None
        if kind is not None and not kind.typed:
            return super()._node(node)
        return _instance(tag, class_name(node.get("t", tag)), node.get("v"))


# Kinds without a class of the user's, whose `join` calls what is stored, or needs a library to show little.
_INERT = frozenset({"generic", "defaultdict"})


def class_name(cls: Any) -> str:
    """The last part of `module:qualified.name`.

    >>> class_name("__main__:Outer.Point")
    'Point'
    """
    text = cls if isinstance(cls, str) else repr(cls)
    return _MODULES.sub("", text) or "object"


def _instance(tag: str, name: str, parts: Any) -> Any:
    if tag == "secret":
        return Hidden()
    if tag == "enum":
        return Named(f"{name}.{parts}" if isinstance(parts, str) else f"{name}({show(parts, 80)})")
    if tag == "error" and isinstance(parts, dict):
        return Failure(name, list(parts.get("a", ())), parts)
    if tag == "defaultdict" and isinstance(parts, list):
        return dict(zip(parts[1::2], parts[2::2], strict=False))
    if not isinstance(parts, dict):
        return Named(f"<{name}>")
    fields: dict[str, Any] = {}
    for part in ("f", "x", "s", "z"):  # a model's fields and extras, an object's attributes and slots
        found = parts.get(part)
        if isinstance(found, dict):
            fields |= {str(key): value for key, value in found.items() if not str(key).startswith("__")}
    items = parts.get("l") or parts.get("a")
    pairs = parts.get("d")
    if isinstance(pairs, list) and pairs:
        fields |= {str(key): value for key, value in zip(pairs[::2], pairs[1::2], strict=False)}
    return Shown(name, fields, items)


def look(codec: Codec, payload: Payload, *, bind: str, load: Callable[[bytes], Chunk]) -> Any:
    """What shows the value of `payload`. Raises `IntegrityError`, `EncodingError`.

    >>> from jupyter_durable.codec import StoreKey
    >>> codec = Codec(StoreKey(b"0" * 32))
    >>> payload = codec.encode(ValueError("no"), bind="run-1", has_chunk=lambda digest: False)
    >>> look(codec, payload, bind="run-1", load=lambda digest: None)
    ValueError: no
    """
    if payload.codec == "sealed1":
        return Hidden()
    wrapped = payload.codec == "wrapped1"
    name, body, refs = (codec.opened(payload, bind) if wrapped else payload)[:3]
    if name == "json1":
        return loads(body)
    if name == "bytes1":
        return bytes(body)
    if name not in ("tree1", "signed1"):
        return Named(f"<{name}>")
    signed = name == "signed1"
    # Not verified: nothing in it is trusted, or run.
    return InertReader(codec, bind, load, signed=False, wrapped=wrapped).text(
        body[16:] if signed else body, refs
    )


def glance(value: Callable[[], Any]) -> Any:
    """What `value` gives, or the name of what it raised: a listing must not fail for one value."""
    try:
        return value()
    except DurableError as error:
        return Named(f"<{type(error).__name__}>")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one value
        return Named(f"<{type(error).__name__}>")
