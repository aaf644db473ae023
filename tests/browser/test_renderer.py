"""The renderer by itself: inert whatever it is given, quick whatever the size, usable without a mouse."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import synthetic
from attacks import ATTACKS
from pages import Harness, missing, shot

LIMIT_OPEN = 300.0  # ms
LIMIT_FRAME = 50.0

# -- inert -------------------------------------------------------------------------------------------


def _hostile() -> dict[str, Any]:
    """A page in which every string is an attack."""
    page = synthetic.page(len(ATTACKS) * 2)
    for row, text in zip(page["rows"], ATTACKS * 2, strict=True):
        row |= {
            "name": text,
            "call": text,
            "says": text,
            "model": text,
            "kind": row["kind"] if row["n"] % 2 else text,
        }
        row["log"] = [{"at": row["at"], "text": text}]
        row["text"] = text
        row["id"] = row["id"] if row["n"] % 3 else f"{row['id']}{text}"
    for lane, text in zip(page["lanes"], ATTACKS, strict=False):
        lane["name"] = text
    page["run"] |= {
        "name": ATTACKS[1],
        "error": ATTACKS[0],
        "notebook": ATTACKS[3],
        "line": ATTACKS[2],
        "owner": ATTACKS[4],
    }
    page["run"]["log"] = [{"at": 0, "text": text} for text in ATTACKS[:2]]
    page["run"]["forks"] = [{**page["run"]["parent"], "name": ATTACKS[0], "id": ATTACKS[1]}]
    waits = synthetic.waits()
    for wait, text in zip(waits, ATTACKS, strict=False):
        wait["prompt"] = text
        wait["key"] += text
    waits[0]["value"] = {"to": ATTACKS[0], "subject": ATTACKS[1], "__proto__": ATTACKS[2]}
    waits[0]["schema"]["properties"]["to"] |= {
        "title": ATTACKS[1],
        "description": ATTACKS[0],
        "default": ATTACKS[2],
    }
    waits[1]["schema"] = {"enum": list(ATTACKS), "title": ATTACKS[5]}
    page["waits"] = waits
    return page


def _hostile_values() -> dict[str, Any]:
    text = "\n\n".join(ATTACKS)
    return {
        "arguments": {"form": "table", "type": ATTACKS[0], "size": 1, "offset": 0, "columns": list(ATTACKS[:3]), "rows": [list(ATTACKS[:3])]},
        "messages": {"form": "messages", "type": ATTACKS[1], "size": len(ATTACKS), "offset": 0, "rows": [[a, a] for a in ATTACKS]},
        "result": {"form": "text", "type": ATTACKS[2], "size": 9, "offset": 0, "text": text, "markdown": True},
        "error": {"form": "image", "type": "x", "size": 1, "offset": 0, "mime": "image/svg+xml", "data": base64.b64encode(ATTACKS[2].encode()).decode()},
        "output": {"form": "image", "type": ATTACKS[1], "size": 1, "offset": 0, "mime": "image/png\" onerror=\"window.pwned=1", "data": "\" onerror=\"window.pwned=1"},
    }  # fmt: skip


def _calm(harness: Harness) -> None:
    harness.page.wait_for_timeout(150)
    assert harness.page.evaluate("window.pwned") == 0
    bad = harness.page.evaluate(
        """() => {
            const root = document.getElementById('main').shadowRoot, found = [];
            for (const el of root.querySelectorAll('*')) {
              if (/^(script|iframe|object|embed|svg|math|base|form|meta|link)$/i.test(el.tagName)) found.push(el.tagName);
              for (const one of el.attributes) {
                if (/^on/i.test(one.name) || one.name === 'srcdoc') found.push(one.name);
                if (one.name === 'href' && !/^https?:/.test(one.value)) found.push(one.value);
                if (one.name === 'src' && !/^data:image\\/(png|jpeg|gif|webp);base64,/.test(one.value)) found.push(one.value);
              }
            }
            return found; }"""
    )
    assert bad == []


def test_every_string_is_text(harness: Harness) -> None:
    """Names, arguments, results, errors, logs, streams, prompts, forms, tables, Markdown: nothing becomes markup."""
    harness.mount(_hostile(), values=_hostile_values())
    _calm(harness)
    page = harness.page
    page.get_by_role("button", name="Edit arguments").first.click()
    _calm(harness)
    for at in range(0, 34, 4):
        page.evaluate("(n) => window.view.timeline.open(n)", at)
        for summary in page.locator(".details summary").all():
            if not summary.evaluate("(el) => el.parentElement.open"):
                summary.click()
        for link in page.locator(".details a").all():
            assert link.get_attribute("href").startswith("http")
        _calm(harness)
    page.get_by_text("Lanes", exact=True).click()
    _calm(harness)
    page.evaluate("window.view.timeline.command('resume')")
    page.get_by_role("button", name="Fork", exact=True).click()
    _calm(harness)
    shot(page, "hostile")


def test_the_html_fallback_is_inert(harness: Harness) -> None:
    """The bundle's HTML as it is, without any sanitiser."""
    from jupyter_durable.timeline.bundle import bundle

    html = bundle(_hostile(), "text")["text/html"]  # type: ignore[arg-type]
    harness.mount(None)
    page = harness.page
    page.evaluate(
        "(html) => { const el = document.createElement('div'); el.id = 'html'; document.body.append(el);"
        " el.append(document.createRange().createContextualFragment(html)); el.querySelectorAll('details').forEach((d) => d.open = true); }",
        html,
    )
    page.wait_for_timeout(150)
    assert page.evaluate("window.pwned") == 0
    assert page.locator("#html script, #html img, #html svg, #html iframe, #html a").count() == 0


# -- quick -------------------------------------------------------------------------------------------


def _best(times: list[float]) -> float:
    return min(times)


def test_ten_thousand_steps_open_at_once(harness: Harness) -> None:
    """From the page of rows to the picture."""
    times = [harness.mount(synthetic.page(10_000)) for _ in range(3)]
    shot(harness.page, "10000-list")
    assert harness.page.locator(".row:not([hidden])").count() < 60
    assert _best(times) < LIMIT_OPEN, times


_MOST = 107  # of 120 frames: nine in ten, for the machine is not ours alone
_SCROLL = """async (pixels) => {
  const grid = document.getElementById('main').shadowRoot.querySelector('.grid');
  const gaps = []; let last = performance.now();
  for (let n = 0; n < 120; n++) {
    grid.scrollTop = (n % 2 ? pixels * n : n * 37) % (grid.scrollHeight - grid.clientHeight);
    await new Promise((done) => requestAnimationFrame(done));
    const now = performance.now(); gaps.push(now - last); last = now;
  }
  return gaps.sort((a, b) => a - b);
}"""


@pytest.mark.parametrize("count", [10_000, 100_000])
def test_scrolling_holds_its_frames(harness: Harness, count: int) -> None:
    """Jumping anywhere in the list draws what is in sight, and nothing else."""
    harness.mount(synthetic.page(count))
    harness.page.evaluate(
        "window.draws = []; const t = window.view.timeline, draw = t.draw.bind(t);"
        "t.draw = () => { const a = performance.now(); draw(); t.grid.offsetHeight; window.draws.push(performance.now() - a); }"
    )
    _holds(harness, lambda: harness.page.evaluate(_SCROLL, 2311)[_MOST])
    ours = sorted(harness.page.evaluate("window.draws"))
    assert ours[len(ours) // 2] < 16.7 * _slowness(harness), ours  # ms of script and layout


def test_lanes_of_ten_thousand_steps(harness: Harness) -> None:
    """Drawn in one frame's time, zoomed in and out."""
    harness.mount(synthetic.page(10_000))
    harness.page.get_by_text("Lanes", exact=True).click()
    harness.page.wait_for_timeout(200)
    shot(harness.page, "10000-lanes")
    _holds(
        harness,
        lambda: harness.page.evaluate(
            """() => { const t = window.view.timeline; const times = [];
               for (let n = 0; n < 10; n++) { t.setZoom(n / 40, 1 - n / 40); const a = performance.now(); t.draw(); times.push(performance.now() - a); }
               return times.sort((a, b) => a - b)[5]; }"""
        ),
    )


def _holds(harness: Harness, measure: Callable[[], float]) -> None:
    """What is measured (ms) takes no longer than a frame may, as slow as the machine is at that moment; four tries."""
    found = []
    for _ in range(4):
        found.append((measure(), LIMIT_FRAME * _slowness(harness)))
        if found[-1][0] < found[-1][1]:
            return
    raise AssertionError(f"ms, and the limit: {found}")


def _slowness(harness: Harness) -> float:
    """How many times longer than at best a piece of work takes in nine of ten frames: 1 on a machine of its own."""
    return float(
        harness.page.evaluate(
            """async () => {
              const times = [];
              for (let n = 0; n < 60; n++) {
                await new Promise((done) => requestAnimationFrame(done));
                const a = performance.now(); let x = 0;
                for (let i = 0; i < 3e6; i++) x += Math.sqrt(i);
                times.push(performance.now() - a + 0 * x);
              }
              times.sort((a, b) => a - b);
              return times[53] / times[0]; }"""
        )
    )


def test_a_thousand_events_a_second(harness: Harness) -> None:
    """Three seconds of pages as a live feed sends them (20 a second, 50 rows each): frames keep coming."""
    harness.mount(synthetic.page(2_000))
    _holds(harness, lambda: _stream(harness)[-10])
    assert harness.page.evaluate("window.view.timeline.rows.length") >= 5_000


def _stream(harness: Harness) -> list[float]:
    return list(
        harness.page.evaluate(
            """async () => {
              const t = window.view.timeline, gaps = []; let last = performance.now(), n = t.rows.length, mark = t.mark;
              const began = last; let sent = 0;
              while (last - began < 3000) {
                const due = Math.floor((last - began) / 50);
                for (; sent <= due; sent++) {
                  const rows = Array.from({length: 50}, () => ({...t.rows[7], n, id: `1.${n}`, at: t.run.now + n++ / 1000}));
                  window.tell({v: 1, feed: t.feed, since: mark, mark: ++mark, lanes: [], waits: [], rows,
                               run: {...t.run, steps: n, updated: t.run.updated + 0.05}});
                }
                await new Promise((done) => requestAnimationFrame(done));
                const now = performance.now(); gaps.push(now - last); last = now;
              }
              return gaps.sort((a, b) => a - b); }"""
        )
    )


# -- what it shows -----------------------------------------------------------------------------------


def test_a_page_that_was_missed_is_asked_for(harness: Harness) -> None:
    """Rows that came are shown; what is missing is asked for from the last mark that is sure."""
    first = synthetic.page(20)
    harness.mount(first)
    later = {**first, "since": 5, "mark": 6, "rows": [{**first["rows"][3], "n": 25, "id": "9.9"}]}
    harness.tell(later)
    assert harness.asked("since") == [{"type": "since", "feed": "synthetic", "mark": 1}]
    harness.tell({**first, "since": 1, "mark": 6})
    assert harness.page.evaluate("window.view.timeline.mark") == 6


def test_another_feed_starts_anew(harness: Harness) -> None:
    """A server that was restarted counts from the beginning."""
    harness.mount(synthetic.page(20))
    harness.tell(synthetic.page(5, feed="another"))
    assert harness.page.locator(".row:not([hidden])").count() == 5


def test_texts_are_fetched_for_what_is_in_sight(harness: Harness) -> None:
    """Rows without them ask once, together."""
    page = synthetic.page(5_000, status="completed")
    for row in page["rows"]:
        del row["call"], row["says"]
    harness.mount(page)
    harness.page.wait_for_timeout(200)
    asked = harness.asked("texts")
    assert len(asked) == 1
    assert 10 <= len(asked[0]["ns"]) <= 40


def test_search_and_filters(harness: Harness) -> None:
    """By words, by kind, by state; how many there are is said."""
    harness.mount(synthetic.page(1_000))
    page = harness.page
    page.get_by_role("searchbox").fill("send_email")
    page.locator(".matches", has_text="1 of 1,000").wait_for()
    page.get_by_role("searchbox").fill("")
    page.get_by_label("Kind of step").select_option("model")
    page.wait_for_timeout(50)
    shown = page.locator(".matches").inner_text()
    page.get_by_role("button", name="failed").click()
    page.wait_for_timeout(50)
    assert int(page.locator(".matches").inner_text().split()[0]) < int(shown.split()[0].replace(",", ""))
    assert page.locator(".row:not([hidden]):not(.failed)").count() == 0


def test_without_a_mouse(harness: Harness) -> None:
    """Tab, arrows, Enter, Escape; the chosen row is named for those who listen."""
    harness.mount(synthetic.page(200, status="completed"))
    page = harness.page
    page.locator(".grid").focus()
    for key in ("Home", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    page.wait_for_timeout(50)
    active = page.locator(".grid").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-rowindex") == "3"
    page.keyboard.press("Enter")
    page.locator(".details .head").wait_for()
    assert (
        page.evaluate("document.getElementById('main').shadowRoot.activeElement.getAttribute('aria-label')")
        == "Close step"
    )
    page.keyboard.press("Escape")
    page.wait_for_timeout(50)
    assert page.locator(".details").is_hidden()
    page.keyboard.press("/")
    assert page.evaluate("document.getElementById('main').shadowRoot.activeElement.type") == "search"
    page.keyboard.type("fetch")
    page.get_by_text("Lanes", exact=True).click()
    page.locator(".grid").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(50)
    assert page.locator(".lane[aria-selected=true]").count() == 1


def test_keys_stay_inside(harness: Harness) -> None:
    """Nothing typed here reaches a front end's shortcuts."""
    harness.mount(synthetic.page(20))
    page = harness.page
    page.evaluate("window.heard = 0; document.addEventListener('keydown', () => window.heard++)")
    page.get_by_role("searchbox").fill("x")
    page.keyboard.press("x")
    page.locator(".grid").focus()
    page.keyboard.press("d")
    assert page.evaluate("window.heard") == 0


def test_a_decision_is_made_once_and_by_name(harness: Harness) -> None:
    """Approve, reject with a reason, edit by a form that checks: each is one message."""
    page = synthetic.page(30)
    page["waits"] = synthetic.waits()
    harness.mount(page)
    view = harness.page
    card = view.locator(".wait.approval")
    card.get_by_role("button", name="Edit arguments").click()
    card.get_by_label("copies").fill("9")
    card.get_by_role("button", name="Approve with these").click()
    card.get_by_text("from 1 to 5").wait_for()
    card.get_by_label("copies").fill("2")
    card.get_by_label("mode").select_option(label="html")
    shot(view, "approval")
    card.get_by_role("button", name="Approve with these").click()
    card.get_by_text("Recorded").wait_for()
    (sent,) = harness.asked("decide")
    assert sent | {"value": None} == {
        "type": "decide",
        "key": "approval:1.7",
        "step": "1.7",
        "action": "edit",
        "message": "",
        "value": None,
    }
    assert sent["value"] == {"copies": 2, "mode": "html"}
    view.locator(".wait.ask select").select_option(label="Sagas")
    view.locator(".wait.ask").get_by_role("button", name="Answer", exact=True).last.click()
    view.wait_for_timeout(50)
    assert harness.asked("decide")[1]["value"] == "Sagas"


def test_whoever_comes_second_is_told(harness: Harness) -> None:
    """What the store refuses is shown where it was tried, with the command that says the same."""
    page = synthetic.page(30)
    page["waits"] = synthetic.waits()
    harness.mount(page)
    harness.page.evaluate("window.refuse = 'it was decided already, by ada (terminal)'")
    harness.page.get_by_role("button", name="Approve", exact=True).click()
    harness.page.get_by_text("decided already, by ada").wait_for()
    assert "jupyter durable approve 01a213cb-466b 1.7" in harness.page.locator(".wait.approval").inner_text()


def test_commands_of_the_front_end_are_used_where_there_are_any(harness: Harness) -> None:
    """With our extension the button does it; without, it says what to run."""
    harness.mount(synthetic.page(30, status="interrupted"))
    page = harness.page
    page.get_by_role("button", name="Resume").click()
    assert "%durable resume 01a213cb-466b" in page.locator(".note").inner_text()
    page.evaluate("window.has_commands = true")
    page.get_by_role("button", name="Resume").click()
    assert page.evaluate("window.commands").pop() == [
        "jupyter-durable:resume",
        {"run": "01a213cb-466b-7301-a35f-4a4af8833df0"},
    ]


def test_values_come_in_pages(harness: Harness) -> None:
    """The first page when its section opens, the next when it is asked for."""
    values = {
        "arguments": {
            "form": "text",
            "type": "str 40,000",
            "size": 40_000,
            "offset": 0,
            "text": "a" * 16_000,
            "next": 16_000,
        }
    }
    harness.mount(synthetic.page(30, status="completed"), values=values)
    page = harness.page
    page.evaluate("window.view.timeline.open(window.view.timeline.rows.find((row) => row.kind === 'tool').n)")
    page.get_by_role("button", name="24,000 more characters").click()
    page.wait_for_timeout(50)
    assert [one["offset"] for one in harness.asked("value") if one["what"] == "arguments"] == [0, 16_000]


# -- how it looks, and for whom ----------------------------------------------------------------------


def test_pictures(harness: Harness) -> None:
    """For people to look at: light, dark, narrow, with people in the loop, with a step open."""
    full = synthetic.page(60)
    full["waits"] = synthetic.waits()
    for name, how in {"light": {}, "dark": {"dark": True}, "narrow": {"size": (400, 800)}}.items():
        harness.mount(full, **how)  # type: ignore[arg-type]
        shot(harness.page, name)
        harness.page.get_by_text("Lanes", exact=True).click()
        harness.page.wait_for_timeout(100)
        shot(harness.page, f"{name}-lanes")


def test_names_and_roles(harness: Harness) -> None:
    """What assistive technology is told: every control has a name, states are words, changes are announced."""
    page = synthetic.page(60)
    page["waits"] = synthetic.waits()
    harness.mount(page)
    view = harness.page
    view.evaluate("window.view.timeline.open(12)")
    view.wait_for_timeout(100)
    nameless = view.evaluate(
        """() => [...document.getElementById('main').shadowRoot.querySelectorAll('button, input, select, textarea')]
            .filter((el) => !el.closest('[hidden]') && !(el.textContent.trim() || el.getAttribute('aria-label') || el.labels?.length))
            .map((el) => el.outerHTML)"""
    )
    assert nameless == []
    assert "research running" in view.locator("[aria-live]").text_content()
    assert view.locator(".row.in_doubt .word").text_content() == "in doubt"
    small = view.evaluate(
        """() => { const root = document.getElementById('main').shadowRoot;
            const lum = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const back = (el) => { for (; el; el = el.parentElement || el.getRootNode().host) { const c = getComputedStyle(el).backgroundColor; if (!/rgba\\(.*, 0\\)|transparent|color/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
            return [...root.querySelectorAll('.word, .says, .took, .id, .facts, .chip, .badge, button, dt, dd, label, summary')]
              .filter((el) => el.textContent.trim() && !el.closest('[hidden]'))
              .map((el) => { const a = lum(getComputedStyle(el).color), b = lum(back(el)); return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), el.className || el.tagName, el.textContent.slice(0, 20)]; })
              .filter(([ratio]) => ratio < 4.5); }"""
    )
    assert small == []


def test_axe_finds_nothing_serious(harness: Harness) -> None:
    """axe-core, where the package that brings it is installed."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("axe-playwright-python (pip install -e '.[browser]')")
    page = synthetic.page(60)
    page["waits"] = synthetic.waits()
    for dark in (False, True):
        harness.mount(page, dark=dark)
        for lanes in (False, True):
            if lanes:
                harness.page.get_by_text("Lanes", exact=True).click()
            harness.page.evaluate("window.view.timeline.open(12)")
            harness.page.wait_for_timeout(100)
            found = Axe().run(harness.page).response["violations"]
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            assert serious == [], json.dumps(serious, indent=1)[:4000]
