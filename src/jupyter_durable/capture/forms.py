"""Arguments that a person may change before a call is made, and values that one may give: schemas and validation."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from jupyter_durable.codec.shapes import is_secret_name
from jupyter_durable.errors import DurableError


class SignatureForm:
    """The arguments of a Python function, by name, as its type hints have them. See `runtime.forms.Form`.

    >>> def send(to: str, times: int = 1) -> None: ...
    >>> SignatureForm(send).bind(("me",), {}, {"times": "3"})
    (('me', 3), {})
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn

    @functools.cached_property
    def secret_positions(self) -> tuple[int, ...]:
        """Where secrets are, by their parameters' names, among positional arguments.

        >>> def login(user: str, password: str) -> None: ...
        >>> SignatureForm(login).secret_positions
        (1,)
        """
        try:
            parameters = inspect.signature(self._fn).parameters.values()
        except (TypeError, ValueError):
            return ()
        return tuple(
            n
            for n, p in enumerate(parameters)
            if p.kind <= p.POSITIONAL_OR_KEYWORD and is_secret_name(p.name)
        )

    def schema(self) -> Mapping[str, Any] | None:
        """See `Form`."""
        from jupyter_durable.capture.toolset.schemas import Parameters, split_docstring

        plain = _plain(self._fn)
        try:
            described = split_docstring(inspect.getdoc(plain))[1]
            name = getattr(plain, "__name__", "tool")
            schema: dict[str, Any] = Parameters(_without_self(plain), name, described).schema
        except (DurableError, ValueError, TypeError):
            return None  # some of them only code can give
        return schema

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], edit: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """See `Form`."""
        plain = _plain(self._fn)
        signature = inspect.signature(plain)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ValueError(str(error)) from None
        try:
            hints = get_type_hints(plain, include_extras=True)
        except Exception:  # noqa: BLE001 - a name that only a type checker imports
            hints = {}
        rest = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
        for name, value in edit.items():
            parameter = signature.parameters.get(name)
            if parameter is not None and parameter.kind not in (
                parameter.VAR_KEYWORD,
                parameter.VAR_POSITIONAL,
            ):
                bound.arguments[name] = validated(hints.get(name, Any), value, name)
            elif rest is not None:
                bound.arguments[rest] = {**bound.arguments.get(rest, {}), name: value}
            else:
                raise ValueError(f"there is no argument {name!r}")
        return bound.args, bound.kwargs


class JsonForm:
    """Arguments that are JSON data given by name: of an MCP server's tools, and of frameworks'.

    >>> JsonForm().bind((), {"a": 1, "b": 2}, {"b": 3})
    ((), {'a': 1, 'b': 3})
    """

    def __init__(self, schema: Mapping[str, Any] | None = None) -> None:
        self._schema = schema

    def schema(self) -> Mapping[str, Any] | None:
        """See `Form`."""
        return self._schema

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], edit: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """See `Form`."""
        properties = (self._schema or {}).get("properties")
        if properties is not None and (self._schema or {}).get("additionalProperties") is False:
            for name in edit:
                if name not in properties:
                    raise ValueError(f"there is no argument {name!r}")
        return args, {**kwargs, **edit}


def _plain(fn: Any) -> Any:
    while isinstance(fn, functools.partial):
        fn = fn.func
    plain = inspect.unwrap(fn)
    return plain if inspect.isroutine(plain) else getattr(plain, "__call__", plain)  # noqa: B004


def _without_self(fn: Any) -> Any:
    """A method as a tool has it, without what it belongs to."""
    names = list(inspect.signature(fn).parameters)
    if not names or names[0] not in ("self", "cls") or inspect.ismethod(fn):
        return fn

    def method(*args: Any, **kwargs: Any) -> Any: ...

    parameters = list(inspect.signature(fn).parameters.values())[1:]
    method.__signature__ = inspect.signature(fn).replace(parameters=parameters)  # type: ignore[attr-defined]
    method.__annotations__ = dict(getattr(fn, "__annotations__", {}))
    return method


def validated(kind: Any, value: Any, where: str = "") -> Any:
    """JSON data as a value of the type `kind`. Raises `ValueError`, which says in few words what is wrong.

    >>> validated(list[int], ["1", 2])
    [1, 2]
    """
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(kind).validate_json(json.dumps(value))
    except ValidationError as error:
        said = []
        for problem in error.errors(include_url=False):
            at = ".".join(map(str, filter(None, (where, *problem["loc"]))))
            said.append(f"{at}: {problem['msg']}" if at else str(problem["msg"]))
        raise ValueError("; ".join(said)) from None
    except PydanticUserError:  # a type that pydantic does not know
        return value


def schema_of(kind: Any) -> dict[str, Any] | None:
    """The JSON schema of a type. Raises `DurableError` if it has none.

    >>> schema_of(int)
    {'type': 'integer'}
    """
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

    if kind is None or kind is Any:
        return None
    try:
        return TypeAdapter(kind).json_schema()
    except (PydanticUserError, PydanticInvalidForJsonSchema) as error:
        raise DurableError(
            f"nobody can give a {kind!r}: it has no JSON schema ({str(error).splitlines()[0]})",
            hint="use a pydantic model, a dataclass, an Enum, a Literal, or plain types",
        ) from None
