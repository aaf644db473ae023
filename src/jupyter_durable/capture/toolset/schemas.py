"""A function's parameters as JSON schema, from its type hints and docstring; a tool as each provider wants it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from jupyter_durable.errors import DurableError

if TYPE_CHECKING:
    from pydantic import BaseModel

Provider = Literal["openai", "openai-responses", "anthropic", "gemini", "json"]
PROVIDERS: tuple[Provider, ...] = ("openai", "openai-responses", "anthropic", "gemini", "json")


class ArgumentError(ValueError):
    """Arguments that a tool does not take, in words for the model."""


# -- docstrings ----------------------------------------------------------------------------------------

_SPHINX = re.compile(r"^\s*:param\s+(?:[^:]*\s)?\*{0,2}(\w+):\s*(.*)$")
_GOOGLE = re.compile(r"^(\s+)\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_NUMPY = re.compile(r"^\*{0,2}(\w+)\s*(?::.*)?$")
_SECTION = re.compile(
    r"^(args|arguments|parameters|params|returns?|yields?|raises?|examples?|notes?|attributes|see also|warnings?):?\s*$",
    re.IGNORECASE,
)
_PARAMETERS = ("args", "arguments", "parameters", "params")


def split_docstring(text: str | None) -> tuple[str, dict[str, str]]:
    """What a docstring says about a function, and about each parameter (Google, numpy or sphinx style).

    >>> split_docstring("Add.\\n\\nArgs:\\n    a: the first,\\n        a number\\n    b (int): the second\\n")
    ('Add.', {'a': 'the first, a number', 'b': 'the second'})
    """
    about: list[str] = []
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    section, indent = "", 0
    lines = inspect.cleandoc(text or "").splitlines()
    for number, line in enumerate(lines):
        heading = _SECTION.match(line)
        underlined = number + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[number + 1].strip())
        if heading and (line.rstrip().endswith(":") or underlined):
            name = heading[1].lower()
            section, current, indent = ("parameters" if name in _PARAMETERS else name), None, 0
        elif match := _SPHINX.match(line):
            current = found.setdefault(match[1], [match[2]])
            section = "sphinx"
        elif section == "sphinx":
            if line.lstrip().startswith(":"):
                current = None  # :returns: and the like
            elif current is not None:
                current.append(line.strip())
        elif section == "parameters":
            if re.fullmatch(r"-{3,}", line.strip()):
                continue
            google, numpy = _GOOGLE.match(line), _NUMPY.match(line)
            if google and (not indent or len(google[1]) <= indent):
                indent = len(google[1])
                current = found.setdefault(google[2], [google[3]])
            elif numpy and line.strip():
                current = found.setdefault(numpy[1], [])
            elif current is not None:
                current.append(line.strip())
        elif not section:
            about.append(line)
    return "\n".join(about).strip(), {name: " ".join(filter(None, said)) for name, said in found.items()}


# -- functions -----------------------------------------------------------------------------------------


class Parameters:
    """What a function takes: `.schema`, and `validate`, which turns a model's arguments into them.

    Raises `DurableError` for a parameter that a model cannot give and that has no default.
    """

    def __init__(self, fn: Callable[..., Any], name: str, described: Mapping[str, str]) -> None:
        from pydantic import ConfigDict, Field, create_model
        from pydantic.errors import PydanticUserError

        plain = inspect.unwrap(fn)
        signature = inspect.signature(plain)
        try:
            hints = get_type_hints(plain, include_extras=True)
        except Exception:  # noqa: BLE001 - a name that only a type checker imports
            hints = {}
        self._names: list[tuple[str, str]] = []
        fields: dict[str, Any] = {}
        extra: Literal["allow", "forbid"] = "forbid"
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                extra = "allow"
                continue
            required = parameter.default is parameter.empty
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                if required and parameter.kind is parameter.POSITIONAL_ONLY:
                    raise DurableError(
                        f"the tool {name} takes {parameter.name!r} by position only, and models name what they give",
                        hint=f"remove the '/' from {name}'s parameters, or wrap it",
                    )
                continue
            kind = hints.get(parameter.name, Any)
            if not _describable(kind):
                if required:
                    raise DurableError(
                        f"no model can give {name} its {parameter.name!r}: {kind!r} has no JSON schema",
                        hint="give it a default, or make a tool of a function that does not take it",
                    )
                continue
            field = f"p{len(fields)}"  # whatever its name: some would hide methods of the model
            default = ... if required else parameter.default
            told = described.get(parameter.name)
            fields[field] = (kind, Field(default, alias=parameter.name, description=told))
            self._names.append((field, parameter.name))
        try:
            self.model: type[BaseModel] = create_model(
                name, __config__=ConfigDict(extra=extra, arbitrary_types_allowed=True), **fields
            )
            self.schema = tidy(self.model.model_json_schema())
        except PydanticUserError as error:
            raise DurableError(f"the parameters of {name} have no JSON schema: {error}") from error

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments for the function; defaults are left to it. Raises `ArgumentError`."""
        from pydantic import ValidationError

        try:
            given = self.model.model_validate(dict(arguments))
        except ValidationError as error:
            raise ArgumentError(_complaints(error)) from None
        named = {
            name: getattr(given, field) for field, name in self._names if field in given.model_fields_set
        }
        return {**named, **(given.model_extra or {})}


def _describable(kind: Any) -> bool:
    from pydantic import TypeAdapter

    try:
        TypeAdapter(kind).json_schema()
    except Exception:  # noqa: BLE001 - pydantic has many ways to say no
        return False
    return True


def _complaints(error: Any) -> str:
    said = []
    for problem in error.errors(include_url=False):
        where = ".".join(map(str, problem["loc"]))
        said.append(f"{where}: {problem['msg']}" if where else problem["msg"])
    return "; ".join(said)


def tidy(schema: Any) -> Any:
    """A schema without pydantic's titles, which say nothing that the names do not."""
    if isinstance(schema, dict):
        return {
            key: ({name: tidy(one) for name, one in value.items()} if key in _NAMED else tidy(value))
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [tidy(item) for item in schema] if isinstance(schema, list) else schema


_NAMED = frozenset({"properties", "$defs", "definitions", "patternProperties"})


def parse(arguments: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Arguments as SDKs hand them on: JSON text, a mapping, or nothing. Raises `ArgumentError`.

    >>> parse('{"a": 1}'), parse(""), parse(None)
    ({'a': 1}, {}, {})
    """
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError as error:
            raise ArgumentError(f"the arguments are no JSON: {error}") from None
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise ArgumentError(f"the arguments must be a JSON object, not {json.dumps(arguments)[:80]}")
    return dict(arguments)


# -- what providers want -------------------------------------------------------------------------------


def for_provider(
    provider: Provider, tools: Iterable[tuple[str, str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Tools (name, description, schema) as a provider's `tools` argument.

    >>> for_provider("anthropic", [("now", "The time.", {"type": "object", "properties": {}})])
    [{'name': 'now', 'description': 'The time.', 'input_schema': {'type': 'object', 'properties': {}}}]
    """
    if provider not in PROVIDERS:
        raise DurableError(f"no schemas for {provider!r}", hint=f"one of {', '.join(PROVIDERS)}")
    key = {"anthropic": "input_schema", "gemini": "parameters_json_schema"}.get(provider, "parameters")
    found: list[dict[str, Any]] = [
        {"name": name, "description": about, key: schema} for name, about, schema in tools
    ]
    if provider == "openai":
        return [{"type": "function", "function": function} for function in found]
    if provider == "openai-responses":
        return [{"type": "function", **function} for function in found]
    if provider == "gemini":
        return [{"function_declarations": found}] if found else []
    return found
