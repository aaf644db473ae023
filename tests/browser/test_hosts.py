"""The widget in front ends that are not here: pages that imitate what VS Code, Colab and a plain page give to a view.

What anywidget promises is all it may use: a module loaded from a blob, and the six methods of a model. No global of a front
end, no request, under a strict policy; and it is legible in the colours of each, also where ipywidgets' light copy of
JupyterLab's variables lies about a dark page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import synthetic
from pages import SCRIPT, shot

# What `@jupyter-widgets/controls` brings along for pages without a theme: JupyterLab's variables, light.
_LAB_COPY = {
    "--jp-ui-font-color1": "rgba(0, 0, 0, 0.8)",
    "--jp-ui-font-color2": "rgba(0, 0, 0, 0.54)",
    "--jp-layout-color1": "white",
    "--jp-layout-color2": "#eeeeee",
    "--jp-border-color2": "#e0e0e0",
    "--jp-success-color0": "#1b5e20",
    "--jp-error-color1": "#d32f2f",
    "--jp-warn-color0": "#e65100",
}


def _vscode(foreground: str, quiet: str, background: str, side: str, **more: str) -> dict[str, str]:
    return {
        **_LAB_COPY,
        "--vscode-foreground": foreground,
        "--vscode-descriptionForeground": quiet,
        "--vscode-editor-background": background,
        "--vscode-sideBar-background": side,
        "--vscode-font-family": "'Segoe WPC', 'Segoe UI', sans-serif",
        "--vscode-font-size": "13px",
        **more,
    }


HOSTS: dict[str, dict[str, Any]] = {
    "vscode-light": {
        "body": {"class": "vscode-light", "data-vscode-theme-kind": "vscode-light"},
        "variables": _vscode(
            "#3b3b3b", "#3b3b3b", "#ffffff", "#f8f8f8", **{"--vscode-panel-border": "#e5e5e5"}
        ),
        "page": "#ffffff",
    },
    "vscode-dark": {
        "body": {"class": "vscode-dark", "data-vscode-theme-kind": "vscode-dark"},
        "variables": _vscode(
            "#cccccc", "#9d9d9d", "#1f1f1f", "#181818", **{"--vscode-panel-border": "#2b2b2b"}
        ),
        "page": "#1f1f1f",
    },
    "vscode-contrast": {
        "body": {"class": "vscode-high-contrast", "data-vscode-theme-kind": "vscode-high-contrast"},
        "variables": _vscode(
            "#ffffff", "#ffffff", "#000000", "#000000", **{"--vscode-contrastBorder": "#6fc3df"}
        ),
        "page": "#000000",
    },
    "colab-light": {"html": {"theme": "light"}, "variables": _LAB_COPY, "page": "#ffffff"},
    "colab-dark": {"html": {"theme": "dark"}, "variables": _LAB_COPY, "page": "#383838"},
    "plain": {"page": "#ffffff"},
}
"""`body`, `html`: attributes; `variables`: of the document; `page`: the colour behind a transparent body."""

_HTML = """<!doctype html><html lang="en"{html}><head><meta charset="utf-8"><title>{name}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-eval' blob:; style-src 'unsafe-inline'; img-src data: blob:">
</head><body{body}><main id="main"></main></body></html>"""

_RENDER = """async ({script, page, variables, behind}) => {
  for (const [name, value] of Object.entries(variables)) document.documentElement.style.setProperty(name, value);
  document.body.style.margin = '12px';
  window.touched = [];
  for (const name of ['Jupyter', 'IPython', 'jupyterapp', 'jupyterlab', 'require', 'define', 'acquireVsCodeApi', 'google', 'fetch', 'XMLHttpRequest', 'WebSocket', 'EventSource', 'localStorage'])
    Object.defineProperty(window, name, {configurable: true, get: () => { window.touched.push(name); return undefined; }});
  navigator.sendBeacon = () => { window.touched.push('sendBeacon'); };
  const traits = {run: page.run.id, status: page.run.status, snapshot: page};
  const handlers = {};
  window.sent = [];
  const fire = (message) => (handlers['msg:custom'] || []).forEach((one) => one(message, []));
  const all = {
    get: (name) => traits[name],
    set: (name, value) => { traits[name] = value; },
    save_changes: () => {},
    on: (name, one) => { (handlers[name] ||= []).push(one); },
    off: (name, one) => { handlers[name] = (handlers[name] || []).filter((each) => each !== one); },
    send: (message) => {
      window.sent.push(JSON.parse(JSON.stringify(message)));
      const value = message.type === 'value' ? {form: 'text', type: 'str', text: 'a page', size: 6, offset: 0}
        : message.type === 'texts' ? {rows: []} : {says: 'Recorded.'};
      setTimeout(() => fire({type: 'reply', id: message.id, value}), 5);
    },
  };
  const model = new Proxy(all, {get: (target, name) => {
    if (!(name in target)) window.touched.push(`model.${String(name)}`);
    return target[name];
  }});
  const url = URL.createObjectURL(new Blob([script], {type: 'text/javascript'}));
  const made = await import(url);
  window.end = await (made.default.render || made.render)({model, el: document.getElementById('main'), experimental: {}});
  window.handlers = handlers;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
}"""

_PALE = """(behind) => {
  const root = document.querySelector('#main > div').shadowRoot;
  const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const over = (colours) => { pen.clearRect(0, 0, 1, 1); for (const one of colours) { pen.fillStyle = one; pen.fillRect(0, 0, 1, 1); } return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3); };
  const lum = (rgb) => { const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const grounds = (el) => { const found = []; for (; el; el = el.parentElement || el.getRootNode().host) found.unshift(getComputedStyle(el).backgroundColor); return [behind, ...found]; };
  return [...root.querySelectorAll('.name, .word, .call, .says, .took, .id, .facts, .chip, .badge, button, dt, dd, label, summary, input, select, pre, .wait p')]
    .filter((el) => el.textContent.trim() && el.getClientRects().length && !el.closest('[hidden], .old'))
    .map((el) => { const under = grounds(el); const a = lum(over([...under, getComputedStyle(el).color])), b = lum(over(under));
      return [Math.round(100 * (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)) / 100, el.className || el.tagName, el.textContent.slice(0, 24)]; })
    .filter(([ratio]) => ratio < 4.5);
}"""

Show = Callable[..., Any]


@pytest.fixture
def show(chromium: Any, harness_url: str) -> Iterator[Show]:
    """A page of such a host, with the widget in it. `page.requests` has whatever it asked a network for."""
    contexts = []

    def showing(name: str, page: dict[str, Any], *, size: tuple[int, int] = (900, 900)) -> Any:
        host = HOSTS[name]
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]})
        contexts.append(context)
        shown = context.new_page()
        url = f"{harness_url}host"
        attributes = {
            part: "".join(f' {key}="{value}"' for key, value in host.get(part, {}).items())
            for part in ("html", "body")
        }
        shown.route(
            url,
            lambda route: route.fulfill(content_type="text/html", body=_HTML.format(name=name, **attributes)),
        )
        shown.goto(url)
        shown.errors = []
        shown.asked_for = []
        shown.on("pageerror", lambda error: shown.errors.append(str(error)))
        shown.on("request", lambda request: shown.asked_for.append(request.url))
        # An output has no background of its own in these: what is behind it is the editor's.
        shown.evaluate(
            "(colour) => { const s = new CSSStyleSheet(); s.replaceSync(`html { background: ${colour}; }`); document.adoptedStyleSheets = [s]; }",
            host["page"],
        )
        given = {
            "script": SCRIPT.read_text(),
            "page": page,
            "variables": host.get("variables", {}),
            "behind": host["page"],
        }
        shown.evaluate(_RENDER, given)
        return shown

    yield showing
    for context in contexts:
        context.close()


def _page() -> dict[str, Any]:
    page = synthetic.page(40)
    page["waits"] = synthetic.waits()
    return page


@pytest.mark.parametrize("name", HOSTS)
def test_only_what_anywidget_promises(show: Show, name: str) -> None:
    """Drawn, asked, decided, and taken down again."""
    page = show(name, _page())
    page.locator(".row").first.wait_for()
    page.locator(".row", has_text="search").first.click()
    page.locator(".details pre", has_text="a page").first.wait_for()
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_text("Recorded.").wait_for()
    page.get_by_text("Lanes", exact=True).click()
    page.locator(".lane canvas").first.wait_for()
    sent = page.evaluate("window.sent")
    assert {one["type"] for one in sent} >= {"since", "value", "decide"}
    assert max(len(json.dumps(one)) for one in sent) < 2000
    decided = next(one for one in sent if one["type"] == "decide")
    assert (decided["key"], decided["action"]) == ("approval:1.7", "approve")
    assert page.evaluate("window.touched") == []
    assert [url for url in page.asked_for if not url.startswith("blob:")] == []
    page.evaluate("window.end()")
    assert page.evaluate("Object.values(window.handlers).flat().length") == 0
    assert page.errors == []


@pytest.mark.parametrize("name", HOSTS)
def test_it_is_legible(show: Show, name: str) -> None:
    """Every text has a contrast of 4.5 at least, in the colours of the host."""
    page = show(name, _page())
    page.locator(".row", has_text="search").first.click()
    page.locator(".details pre", has_text="a page").first.wait_for()
    shot(page, f"host-{name}")
    assert page.evaluate(_PALE, HOSTS[name]["page"]) == []
    page.get_by_text("Lanes", exact=True).click()
    page.locator(".lane canvas").first.wait_for()
    shot(page, f"host-{name}-lanes")


def test_the_theme_changes_under_it(show: Show) -> None:
    """VS Code says so by attributes of the body, Colab by one of the document."""
    page = show("vscode-light", _page())
    dark = "document.querySelector('#main > div').shadowRoot.querySelector('.box-all').classList.contains('dark')"
    assert page.evaluate(dark) is False
    page.evaluate("document.body.dataset.vscodeThemeKind = 'vscode-dark'")
    page.wait_for_function(dark)
    page = show("colab-light", _page())
    assert page.evaluate(dark) is False
    page.evaluate("document.documentElement.setAttribute('theme', 'dark')")
    page.wait_for_function(dark)
