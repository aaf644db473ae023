"""Parameters of a job: read from the command line or a file, injected after the tagged cell.

The convention is papermill's, so that a notebook works with either: the cell tagged `parameters`
holds the defaults, and a cell tagged `injected-parameters` is put right after it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Any

from jupyter_durable.codec import Codec
from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.errors import DurableError, IntegrityError
from jupyter_durable.model import Chunk, Payload

DEFAULTS_TAG = "parameters"
INJECTED_TAG = "injected-parameters"

_WORDS: Mapping[str, Any] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "None": None,
}


def parse(text: str) -> Any:
    """The value a person means by `text`: a bool, None, a number, JSON, or else the text itself.

    >>> [parse(t) for t in ("7", "0.5", "true", "None", '["a", 1]', '"7"', "seven")]
    [7, 0.5, True, None, ['a', 1], '7', 'seven']
    """
    if text in _WORDS:
        return _WORDS[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    if text[:1] in {"[", "{", '"'}:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def read_file(path: Path) -> dict[str, Any]:
    """The parameters in a `.json`, `.toml`, `.yaml` or `.yml` file, which must hold one mapping.

    Raises `DurableError` for any other file, and for one that cannot be read as what it is named.
    """
    try:
        values = _load(path)
    except (OSError, ValueError) as error:
        raise DurableError(
            f"cannot read the parameters in {path}: {error}", hint="give a .json, .toml or .yaml file"
        ) from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise DurableError(f"{path} does not hold parameters", hint='write one mapping: {"NAME": VALUE, ...}')
    return values


def _load(path: Path) -> Any:
    match path.suffix.lower():
        case ".json":
            return json.loads(path.read_text("utf-8"))
        case ".toml":
            import tomllib

            return tomllib.loads(path.read_text("utf-8"))
        case ".yaml" | ".yml":
            try:
                import yaml  # type: ignore[import-untyped,unused-ignore]
            except ImportError:
                raise DurableError(
                    f"{path} is YAML, and no YAML reader is installed",
                    hint="pip install pyyaml, or write the parameters as .json or .toml",
                ) from None
            try:
                return yaml.safe_load(path.read_text("utf-8"))
            except yaml.YAMLError as error:
                raise ValueError(error) from error
        case suffix:
            raise ValueError(f"unknown kind of file {suffix or path.name!r}")


def digest(parameters: Mapping[str, Any]) -> str:
    """16 hex digits that are equal for equal parameters, in whatever order they were given.

    Raises `DurableError` for what `source` refuses.
    """
    source(parameters)
    text = json.dumps(parameters, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def is_name(text: str) -> bool:
    """Whether a parameter may be called so.

    >>> is_name("topic"), is_name("a b"), is_name("class")
    (True, False, False)
    """
    return text.isidentifier() and not iskeyword(text)


def sealed(parameters: Mapping[str, Any], key: StoreKey, job_id: str) -> dict[str, str]:
    """Parameters as a store keeps them: encrypted, for one of them may be a password. `opened` has them back.

    >>> from jupyter_durable.codec.secret import StoreKey
    >>> key = StoreKey(bytes(32))
    >>> opened(sealed({"topic": "with"}, key, "j"), key, "j")
    {'topic': 'with'}
    """
    if not parameters:
        return {}
    body = Codec(key).seal_json(dict(parameters), bind=job_id).body
    return {"sealed": base64.b64encode(body).decode()}


def opened(spec: Mapping[str, Any], key: StoreKey, job_id: str) -> dict[str, Any]:
    """The parameters of a job, from its row's `spec`."""
    if "sealed" not in spec:
        return {}
    payload = Payload("sealed1", base64.b64decode(spec["sealed"]))
    found: dict[str, Any] = Codec(key).decode(payload, bind=job_id, load=_no_chunk)
    return found


def _no_chunk(digest: bytes) -> Chunk:
    raise IntegrityError("parameters have no chunks", hint="see `jupyter durable verify`")


def inject(nb: Any, parameters: Mapping[str, Any]) -> None:
    """Put a cell that assigns `parameters` after the one tagged `parameters`, else at the top.

    A cell injected earlier (the notebook is the output of another job) is replaced. Without
    parameters nothing is injected. Raises `DurableError` for a name that is no identifier, or a
    value that is not JSON data.
    """
    if not parameters:
        return
    from nbformat.v4 import new_code_cell

    cell = new_code_cell(source=source(parameters), metadata={"tags": [INJECTED_TAG]})
    if (nb.nbformat, nb.nbformat_minor) >= (4, 5):
        cell.id = INJECTED_TAG  # not random: the cell's identity is the same in every call of the job
    else:
        cell.pop("id", None)
    tags = [set(c.metadata.get("tags", ())) for c in nb.cells]
    for index, found in enumerate(tags):
        if INJECTED_TAG in found:
            nb.cells[index] = cell
            return
    place = next((index + 1 for index, found in enumerate(tags) if DEFAULTS_TAG in found), 0)
    nb.cells.insert(place, cell)


def source(parameters: Mapping[str, Any]) -> str:
    """The Python code of an injected cell.

    >>> print(source({"topic": "with", "depth": 3}))
    # Parameters
    topic = 'with'
    depth = 3
    """
    lines = ["# Parameters"]
    for name, value in parameters.items():
        if not is_name(name):
            raise DurableError(f"{name!r} is no name of a variable", hint="give parameters as -p NAME VALUE")
        lines.append(f"{name} = {_literal(value, name)}")
    return "\n".join(lines)


def _literal(value: Any, path: str) -> str:
    match value:
        case float() if not math.isfinite(value):
            return f"float({str(value)!r})"
        case None | bool() | int() | float() | str():
            return repr(value)
        case list():
            return "[" + ", ".join(_literal(v, f"{path}[{i}]") for i, v in enumerate(value)) + "]"
        case dict() if all(isinstance(key, str) for key in value):
            return "{" + ", ".join(f"{k!r}: {_literal(v, f'{path}[{k!r}]')}" for k, v in value.items()) + "}"
        case _:
            raise DurableError(
                f"parameter {path} is a {type(value).__name__}",
                hint="use text, numbers, true, false, null, lists, and mappings from text",
            )
