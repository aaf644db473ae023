"""`html`: the timeline in one file: interactive, printable, and cut off from everything else.

The same `timeline.js` draws it, with rows and values in the file. A content security policy allows that script (by
its hash) and nothing else: no network, no other script, no plug-in, no form. Without a script, in print and for search engines of mail programs
the same is there once more as plain text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jupyter_durable.export import Exported, slug
from jupyter_durable.export.reading import Reading, made_by
from jupyter_durable.timeline.bundle import STATES, span, summary
from jupyter_durable.timeline.rows import Detail, Page, Row

if TYPE_CHECKING:
    from jupyter_durable.session.reading import Store

VALUE = 200_000
"""Characters (of JSON) of one value."""
VALUES = 20_000_000
"""The same of all of them."""
STEPS = 20_000
"""Steps with a row."""
PLAIN = 2_000
"""Characters of a value in the plain part, and steps of it."""

_WORDS = {
    "messages": "Conversation",
    "arguments": "Arguments",
    "result": "Result",
    "error": "Error",
    "text": "Text so far",
    "output": "Output",
    "log": "Log",
}

_CSS = """
:root { color-scheme: light dark; }
body { margin: 16px auto; max-width: 1200px; padding: 0 16px; font: 14px/1.5 system-ui, sans-serif; color: #212121; background: #fff; }
h1 { font-size: 20px; margin: 0 0 4px; }
footer, .quiet { color: #616161; font-size: 12px; }
#live { margin: 12px 0; }
#plain article { border-top: 1px solid #e0e0e0; padding: 8px 0; break-inside: avoid; }
#plain h2 { font-size: 14px; margin: 0; font-weight: 600; }
#plain h3 { font-size: 12px; margin: 6px 0 0; font-weight: 600; color: #616161; }
#plain pre { margin: 2px 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 12px/1.45 ui-monospace, monospace; }
#plain .failed h2 { color: #b71c1c; }
.js #plain { display: none; }
@media (prefers-color-scheme: dark) {
  body { color: #e0e0e0; background: #121212; }
  footer, .quiet, #plain h3 { color: #a0a0a0; }
  #plain article { border-color: #333; }
  #plain .failed h2 { color: #ef9a9a; }
}
@media print {
  body { color: #000; background: #fff; max-width: none; margin: 0; }
  footer, .quiet, #plain h3 { color: #555; }
  #plain .failed h2 { color: #b71c1c; }
  .js #plain { display: block; }
  #live { display: none; }
}
"""

# The report's own part of the script: where `timeline.js` is mounted, and what answers it.
_BOOT = """
;(() => {
  const given = JSON.parse(document.getElementById("data").textContent);
  const none = { form: "none", type: "not in this report", size: 0, offset: 0 };
  const source = {
    subscribe: (tell) => { tell(given.page); return () => {}; },
    ask: async (asked) => {
      if (asked.type !== "value") return { rows: [] };
      const step = Object.hasOwn(given.values, asked.step) ? given.values[asked.step] : {};
      const pages = Object.hasOwn(step, asked.what) ? step[asked.what] : [];
      return pages.find((page) => page.offset === asked.offset) || none;
    },
  };
  const { timeline } = mount(document.getElementById("live"), source);
  for (const one of [timeline.resume, timeline.cancel, timeline.fork]) one?.remove(); // a report can do nothing
  document.documentElement.className = "js";
})();
"""


def export(store: Store, run_id: str) -> Exported:
    """See `jupyter_durable.export.export`."""
    found = Reading(store, run_id)
    left: list[str] = []
    rows = found.rows[-STEPS:]
    if len(rows) < len(found.rows):
        left.append(f"the first {len(found.rows) - len(rows):,} of {len(found.rows):,} steps")
    values = _values(found, rows, left)
    page = _page(found, rows)
    text = _html(found, page, values, left)
    return Exported(
        "html",
        found.run_id,
        {f"{slug(found.head['name'])}.html": text.encode("utf-8", "replace")},
        tuple(left),
    )


def _page(found: Reading, rows: list[Row]) -> Page:
    # Nobody can decide anything in a file: what is waited for is told, without buttons.
    still: list[Row] = []
    for row in rows:
        quiet = {**row, "wait": {**row["wait"], "actions": []}} if "wait" in row else row
        still.append(quiet)
    page: Page = {
        "v": 1,
        "feed": found.run_id,
        "since": 0,
        "mark": found.mark,
        "run": found.head,
        "lanes": found.lanes,
        "rows": still,
        "waits": [{**wait, "actions": []} for wait in found.waits],
    }
    if len(rows) < len(found.rows):
        page["left_out"] = len(found.rows) - len(rows)
    return page


# -- values ----------------------------------------------------------------------------------------


def _values(found: Reading, rows: list[Row], left: list[str]) -> dict[str, dict[str, list[Detail]]]:
    """The pages of every value, by step and what it is; what went wrong comes first, should there be too much."""
    room, without, cut = VALUES, 0, 0
    made: dict[str, dict[str, list[Detail]]] = {}
    for row in sorted(rows, key=lambda row: row["status"] == "completed"):
        if room <= 0:
            without += 1
            continue
        own: dict[str, list[Detail]] = {}
        for what in _asked(row):
            pages, size, whole = _pages(found, row["id"], what)
            room -= size
            cut += not whole
            if pages:
                own[what] = pages
        made[row["id"]] = own
    if cut:
        left.append(
            f"the rest of {cut:,} value{'s' if cut != 1 else ''} with more than {VALUE:,} characters each"
        )
    if without:
        left.append(
            f"the values of {without:,} steps: all values together had more than {VALUES:,} characters"
        )
    return made


def _asked(row: Row) -> list[str]:
    """What the renderer asks of a step."""
    what = ["messages", "arguments"] if row["kind"] == "model" else ["arguments"]
    what.append({"completed": "result", "failed": "error"}.get(row["status"], "text"))
    return [*what, *(["output"] if row.get("output") else []), *(["log"] if row.get("log") else [])]


def _pages(found: Reading, step: str, what: str) -> tuple[list[Detail], int, bool]:
    pages: list[Detail] = []
    size, offset = 0, 0
    while True:
        detail = found.watch.value(step, what, offset)
        if detail["form"] == "none":
            return pages, size, True
        pages.append(detail)
        size += len(json.dumps(detail))
        following = detail.get("next")
        if following is None:
            return pages, size, True
        if size > VALUE:
            del detail["next"]
            unit = "characters" if detail["form"] == "text" else "rows"
            rest = f"\n… {detail['size'] - following:,} more {unit} are not in this report"
            if detail["form"] == "text":
                detail["text"] += rest
            else:
                detail["type"] += rest.replace("\n", " ")
            return pages, size, False
        offset = following


# -- the file --------------------------------------------------------------------------------------


def _html(found: Reading, page: Page, values: dict[str, dict[str, list[Detail]]], left: list[str]) -> str:
    script = files("jupyter_durable.timeline").joinpath("timeline.js").read_text("utf-8") + _BOOT
    assert "</script" not in script.lower()
    drawn = _drawn(script)
    styles = [_CSS, drawn] if drawn is not None else None
    data = json.dumps({"page": page, "values": values}, separators=(",", ":"))
    for sign in "<>&":
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            "style-src " + (" ".join(map(_hash, styles)) if styles else "'unsafe-inline'"),
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    run = page["run"]
    name, word = escape(run["name"]), STATES[run["status"]][1]
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(run["created"]))
    missing = "".join(f"<li>{escape(one)}</li>" for one in left)
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{name}: {word}</title>\n<style>{_CSS}</style>\n</head>\n<body>",
            f'<h1>{name}</h1>\n<div class="quiet">{word} · {escape(summary(run))} · begun {at}</div>',
            f"<div><b>Not in this report:</b><ul>{missing}</ul></div>" if left else "",
            '<div id="live"></div>',
            f'<div id="plain">{_plain(page, values)}</div>',
            f"<footer>Run {escape(run['id'])}, exported by {made_by()}. Secrets are shown as •••.</footer>",
            f'<script type="application/json" id="data">{data}</script>',
            f'<script type="module">{script}</script>\n</body>\n</html>\n',
        )
    )


def _drawn(script: str) -> str | None:
    """The style sheet that the renderer puts into its shadow root; None: not found, so that any must be allowed."""
    found = re.search(r"^var CSS = `([^`\\]*)`;$", script, re.MULTILINE)
    return found[1] if found else None


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _plain(page: Page, values: dict[str, dict[str, list[Detail]]]) -> str:
    rows = page["rows"][-PLAIN:]
    parts = []
    if error := page["run"].get("error"):
        parts.append(f"<pre>{escape(error)}</pre>")
    parts += [f"<p>‖ {escape(wait['prompt'])}</p>" for wait in page["waits"]]
    if len(rows) < len(page["rows"]):
        parts.append(f"<p>The last {len(rows):,} of {len(page['rows']):,} steps:</p>")
    parts += [_article(row, values.get(row["id"], {})) for row in rows]
    return "".join(parts)


def _article(row: Row, own: dict[str, list[Detail]]) -> str:
    icon, word = STATES[row["status"]]
    facts = [word]
    if "took" in row:
        facts.append(span(row["took"]))
    if row.get("attempts", 1) > 1:
        facts.append(f"{row['attempts']} attempts")
    if row.get("replays"):
        facts.append("replayed")
    if row.get("old"):
        facts.append("left behind")
    if "model" in row:
        facts.append(row["model"])
    if "tokens" in row:
        facts.append(f"{row['tokens'][0]:,} + {row['tokens'][1]:,} tokens")
    said = "".join(
        f"<h3>{_WORDS[what]}</h3><pre>{escape(_brief(pages[0]))}</pre>"
        for what, pages in own.items()
        if pages
    )
    return (
        f'<article class="{escape(row["status"])}"><h2>{icon} {escape(row["id"])} {escape(row["name"])}</h2>'
        f'<div class="quiet">{escape(row["kind"])} · {escape(" · ".join(facts))}</div>{said}</article>'
    )


def _brief(detail: Detail) -> str:
    text = _as_text(detail)
    return text if len(text) <= PLAIN else f"{text[:PLAIN]}… (the first {PLAIN:,} characters)"


def _as_text(detail: Detail) -> str:
    form: Any = detail["form"]
    if form == "text":
        return detail["text"]
    if form == "messages":
        return "\n\n".join(f"{role}:\n{text}" for role, text in detail["rows"])
    if form == "table":
        return "\n".join("\t".join(row) for row in [detail.get("columns", []), *detail["rows"]])
    return f"[{detail['type']}]"
