"""pydantic: models by class and fields, private attributes, extras and the set of fields given; secrets."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from jupyter_durable.codec.kinds import Kind, Plain, register
from jupyter_durable.codec.objects import find as find_object


def _split(value: BaseModel) -> Any:
    parts: dict[str, Any] = {"f": Plain(value.__dict__)}
    given = value.__pydantic_fields_set__
    if given != value.__dict__.keys():
        parts["s"] = sorted(given)
    if value.__pydantic_extra__ is not None:
        parts["x"] = Plain(value.__pydantic_extra__)
    if value.__pydantic_private__ is not None:  # through __getstate__, which leaves out what is undefined
        parts["p"] = Plain(value.__getstate__()["__pydantic_private__"])
    return parts


def _join(cls: type[BaseModel], parts: dict[str, Any]) -> BaseModel:
    value = cls.__new__(cls)
    BaseModel.__setstate__(
        value,
        {
            "__dict__": parts["f"],
            "__pydantic_fields_set__": set(parts["s"] if "s" in parts else parts["f"]),
            "__pydantic_extra__": parts.get("x"),
            "__pydantic_private__": parts.get("p"),
        },
    )
    return value


def _join_generic(parts: list[Any]) -> Any:
    origin, args = parts
    return origin[args[0] if len(args) == 1 else tuple(args)]


MODEL = Kind("model", _split, _join, typed=True, tracked=True)
SECRET = Kind("secret", lambda v: v.get_secret_value(), lambda cls, v: cls(v), typed=True)
GENERIC = Kind("generic", lambda v: v, _join_generic)
for _kind in (MODEL, SECRET, GENERIC):
    register(_kind)


def find(cls: type) -> Kind | None:
    """The kind of values of `cls`."""
    if issubclass(cls, SecretStr | SecretBytes | Secret):
        return SECRET
    if not issubclass(cls, BaseModel):
        return find_object(cls)
    custom = cls.__getstate__ is not BaseModel.__getstate__ or cls.__setstate__ is not BaseModel.__setstate__
    return find_object(cls) if custom else MODEL


def is_secret(value: Any) -> bool:
    """Whether pydantic hides this value."""
    return isinstance(value, SecretStr | SecretBytes | Secret)


def generic_parts(cls: type) -> tuple[type, tuple[Any, ...]] | None:
    """Origin and arguments of a parametrised generic model: its own name need not be importable."""
    if not issubclass(cls, BaseModel):
        return None
    metadata = cls.__pydantic_generic_metadata__
    origin = metadata["origin"]
    return None if origin is None else (origin, metadata["args"])
