"""Write `src/types.ts`: the shapes of the REST interface as TypeScript, from the JSON schemas pydantic makes of them.

    python tools/write_types.py [--check]

With `--check` nothing is written; exit code 1 says that the file is not what the shapes say.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jupyter_durable.server.openapi import schemas
from jupyter_durable.timeline.rows import MIME

TARGET = Path(__file__).parents[1] / "src" / "types.ts"
HEAD = """// Made by tools/write_types.py from the pydantic models' JSON schema. Do not edit.
"""
_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def kind(schema: dict[str, Any]) -> str:
    """A schema as a type.

    >>> kind({"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]})
    'number[] | null'
    """
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if some := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(kind(one) for one in some))
    of = schema.get("type")
    if of == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(kind(one) for one in schema['prefixItems'])}]"
        item = kind(schema.get("items", {}))
        return f"({item})[]" if " " in item else f"{item}[]"
    if of == "object":
        if "properties" in schema:
            return _fields(schema)
        more = schema.get("additionalProperties")
        return f"Record<string, {kind(more) if isinstance(more, dict) else 'unknown'}>"
    return _PLAIN.get(str(of), "unknown")


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    lines = [
        f"  {name}{'' if name in required else '?'}: {kind(field)};"
        for name, field in schema["properties"].items()
    ]
    return "{\n" + "\n".join(lines) + "\n}"


def text() -> str:
    """The whole file."""
    parts = [HEAD, f"export const MIME = {json.dumps(MIME)};\n"]
    for name, schema in sorted(schemas().items()):
        said = " ".join(str(schema.get("description", "")).split("\n\n")[0].split())
        comment = f"/** {said} */\n" if said and "*/" not in said else ""
        made = kind(schema)
        parts.append(
            f"{comment}export interface {name} {made}\n"
            if made.startswith("{")
            else f"{comment}export type {name} = {made};\n"
        )
    return "\n".join(parts)


def main() -> int:
    """Write it, or compare."""
    made = text()
    if "--check" in sys.argv[1:]:
        return int(not TARGET.exists() or TARGET.read_text("utf-8") != made)
    TARGET.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
