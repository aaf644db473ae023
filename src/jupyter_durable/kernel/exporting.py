"""`%durable export RUN --format html|json|otel|pytest [-o FILE] [--endpoint URL]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_durable.export import FORMATS, folder_of
from jupyter_durable.kernel import magics

if TYPE_CHECKING:
    from jupyter_durable.kernel.host import KernelHost

USAGE = f"export RUN [--format {'|'.join(FORMATS)}] [-o FILE] [--endpoint URL]"
_OPTIONS = {
    "--format": "format",
    "-f": "format",
    "-o": "output",
    "--output": "output",
    "--endpoint": "endpoint",
}


def export(host: KernelHost, rest: str) -> None:
    """Write a run to files, and say where they are."""
    words = magics._words(rest, USAGE, least=1, most=9)
    given: dict[str, str] = {}
    names: list[str] = []
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if not option.startswith("-"):
            names.append(word)
        elif option in _OPTIONS and (equals or words):
            given[_OPTIONS[option]] = value if equals else words.pop(0)
        else:
            magics._wrong(f"what is {word}?", f"%durable {USAGE}")
    if len(names) != 1:
        magics._wrong("say which run" if not names else "one run at a time", f"%durable {USAGE}")
    record = magics._run(host, names[0])
    output = given.pop("output", None)
    how: dict[str, Any] = dict(given)
    if how.get("format") == "pytest":
        how["folder"] = folder_of(output, "pytest")
    made = host.store().export(record.id, **how)
    for path in made.write(output) if made.files else ():
        host.say(f"{record.name}: written to {path}")
    if made.says:
        host.say(f"{record.name}: {made.says}")
    for one in made.left_out:
        host.say(f"not in it: {one}")
