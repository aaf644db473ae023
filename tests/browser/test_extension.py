"""The extension where it is looked at and clicked: panel, badges, notices, settings, its looks, its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cases import ASKS, CUT, SETUP, Case, panel
from pages import Lab, shot


def test_forked_saved_and_deleted_from_the_panel(case: Callable[..., Case]) -> None:
    """A fork goes on where it was forked; a report is a file; what is deleted is gone."""
    it = case("forked", SETUP, "%%durable {name}\nfound = [fetch(n) for n in range(3)]\nlen(found)")
    it.nb.run(0)
    it.nb.run(1)
    it.badge(1, "done")
    side = panel(it.page)
    runs = side.get_by_role("list", name="This notebook").locator(".jp-durable-run")
    runs.first.locator(".jp-durable-row").click()
    with it.page.expect_download() as saved:
        runs.first.get_by_role("button", name="Report").click()
    assert saved.value.suggested_filename == "forked.html"
    runs.first.get_by_role("button", name="Fork…").click()
    dialog = it.page.locator(".jp-Dialog")
    dialog.locator("select, input").first.wait_for()
    dialog.locator("select").select_option(label="1.1  fetch(1)")
    dialog.locator("button.jp-mod-accept").click()
    notice = it.notice("forked stopped at step 2")
    assert runs.count() == 2
    notice.get_by_role("button", name="Resume").click()
    it.badge(1, "done")
    runs.locator(".jp-durable-word", has_text="completed").nth(1).wait_for()
    assert it.effects() == ["fetch 0", "fetch 1", "fetch 2", "fetch 1", "fetch 2"]
    runs.nth(1).get_by_role("button", name="Delete…").click()
    it.page.locator(".jp-Dialog button.jp-mod-warn").click()
    runs.nth(1).wait_for(state="detached")
    shot(it.page, "ext-forked")


def test_set_up_cells_are_offered_only_for_what_is_missing(case: Callable[..., Case]) -> None:
    """A name that cannot come back by itself: the notice names it, and runs the cells that make it."""
    it = case(
        "missing",
        SETUP + "\nimport threading\ndef made():\n    return threading.Lock()",
        "import os\nlock = made() if os.environ else None",
        CUT + "\nlock.acquire(); len(found)",
    )
    it.until_cut(2)
    it.kill()
    notice = it.notice("missing stopped at step 6")
    it.settle()
    notice.get_by_role("button", name="Resume").click()
    wanting = it.notice("missing needs lock")
    shot(it.page, "ext-missing")
    wanting.get_by_role("button", name="Run the set-up cells and resume").click()
    it.badge(2, "done")
    done = it.effects()
    assert [line for line in done if line.startswith("fetch")] == [f"fetch {n}" for n in range(5)]


def test_resumes_by_itself_if_the_user_wants_that(case: Callable[..., Case]) -> None:
    """Off unless it is set; then without a click."""
    it = case("auto", SETUP, CUT)
    it.page.evaluate(
        """() => window.jupyterapp.serviceManager.settings.save('jupyter-durable:plugin', '{"autoResume": true}')"""
    )
    it.open()
    it.until_cut()
    it.kill()
    it.finished()
    it.page.evaluate("() => window.jupyterapp.serviceManager.settings.save('jupyter-durable:plugin', '{}')")


STUB = """() => {
  window.told = [];
  window.Notification = class {
    static permission = "granted";
    constructor(title, how) { this.title = title; this.body = how.body; window.told.push(this); }
    close() {}
  };
  Object.defineProperty(document, "hidden", { get: () => true });
}"""


def test_the_browser_notifies_if_the_user_wants_that(case: Callable[..., Case]) -> None:
    """Of what begins to wait while nobody looks: off unless it is set; a click leads to it."""
    it = case("notified", SETUP, ASKS, ASKS.replace("{name}", "second"))
    it.page.evaluate(STUB)
    it.nb.run(0)
    it.nb.run(1, wait=False)
    it.badge(1, "Waits for your approval")
    assert it.page.evaluate("() => window.told.length") == 0
    it.page.locator(".jp-Notebook .wait").get_by_role("button", name="Approve").click()
    it.badge(1, "done")
    save = "(on) => window.jupyterapp.serviceManager.settings.save('jupyter-durable:plugin', on)"
    it.page.evaluate(save, '{"browserNotification": true}')
    it.open()
    it.page.evaluate(STUB)
    it.nb.run(2, wait=False)
    it.page.wait_for_function("() => window.told.length === 1", timeout=60_000)
    told = it.page.evaluate("() => [window.told[0].title, window.told[0].body]")
    assert told == ["second waits for you", "Waits for your approval of mail"]
    it.page.evaluate("() => window.told[0].onclick()")
    it.page.locator(".jp-durable-tab .wait.approval").wait_for()
    it.page.evaluate(save, "{}")


def test_read_only_without_the_server_part(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Only the front end is there: what was saved is drawn, and nothing is offered that cannot be done."""
    lab = Lab(tmp_path_factory.mktemp("alone"), extension=True, server=False)
    try:
        it = Case(chromium, lab, "alone", SETUP, "%%durable alone\n[fetch(n) for n in range(3)][-1]")
        it.nb.run(0)
        it.nb.run(1)
        output = it.nb.output(1)
        output.locator(".jp-durable-rendered .badge.completed").wait_for(timeout=30_000)
        assert output.get_by_role("button", name="Cancel").count() == 0
        panel(it.page).get_by_text("timelines are read-only").wait_for()
        assert it.page.locator(".jp-durable-badge").count() == 0
        it.check()
    finally:
        lab.close()


def test_it_costs_little_to_start(case: Callable[..., Case]) -> None:
    """Less than 30 ms of the page's start, all of it: what is evaluated and what is activated."""
    it = case("start", "1")
    took = it.page.evaluate(
        """() => {
          const found = performance.getEntriesByName('jupyter-durable:activate', 'measure');
          return found.map((one) => one.duration);
        }"""
    )
    assert len(took) == 1
    assert took[0] < 30


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_looks_and_is_accessible(case: Callable[..., Case], dark: bool) -> None:
    """Panel, badges and notice with runs in every state; axe finds nothing."""
    name = "dark-looks" if dark else "looks"
    it = case(
        name,
        SETUP,
        "%%durable research\n[fetch(n) for n in range(12)][-1]",
        "%%durable outreach\nfetch(1)\nawait mail('ada@example.org')",
        "%%durable crawl\nfetch(2)\nawait slow(1)",
        "%%durable broken\nfetch(3)\n1 / 0",
        dark=dark,
    )
    if dark:
        it.page.evaluate(
            "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
        )
        it.page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    it.nb.run(0)
    it.nb.run(1)
    it.nb.run(4)
    it.nb.run(3, wait=False)
    it.badge(3, "running")
    it.kill()
    it.notice("crawl stopped at step 2")
    it.settle()
    it.nb.connected()
    it.nb.run(0)
    it.nb.run(2, wait=False)
    it.badge(2, "Waits for your approval")
    side = panel(it.page)
    side.locator(".jp-durable-run", has_text="crawl").first.locator(".jp-durable-row").click()
    side.get_by_role("button", name="Timeline").wait_for()
    it.page.locator(".jp-Notebook").first.evaluate("(el) => el.scrollTo(0, 330)")
    it.page.wait_for_timeout(300)
    shot(it.page, f"ext-{name}")
    from axe_playwright_python.sync_playwright import Axe

    for where in ("#jupyter-durable-runs", ".jp-durable-banner", ".jp-durable-badge"):
        found = Axe().run(it.page, context=where).response["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    # By keyboard alone: to the first run, to the next, its actions.
    side.locator(".jp-durable-row").first.focus()
    it.page.keyboard.press("ArrowDown")
    focused = it.page.evaluate("() => document.activeElement.className")
    assert "jp-durable-row" in focused
    it.page.keyboard.press("Enter")
    it.page.wait_for_function("() => document.activeElement.getAttribute('aria-expanded') !== null")


def test_panel_and_timelines_in_notebook_7(case: Callable[..., Case]) -> None:
    """What has no place beside a document there: the panel is in the left side bar, timelines open at the right."""
    it = case("seven", SETUP, "%%durable {name}\n[fetch(n) for n in range(3)][-1]", app="notebooks")
    it.nb.run(0)
    it.nb.run(1)
    panel(it.page).locator(".jp-durable-run", has_text=it.name).first.wait_for()
    it.badge(1, "done").get_by_role("button", name="Timeline").click()
    it.page.locator(".jp-durable-tab .badge.completed").wait_for()
    shot(it.page, "ext-notebook7-panel")


FAST = """%%durable {name}
import time
began = time.perf_counter()
for n in range(4000):
    tick(n)
    ahead = began + (n + 1) / 500 - time.perf_counter()
    if ahead > 0:
        time.sleep(ahead)
"""
SAMPLE = """async (seconds) => {
  const root = document.querySelector(".jp-durable-tab > div").shadowRoot, found = [];
  const until = Date.now() + seconds * 1000;
  while (Date.now() < until) {
    await new Promise((done) => setTimeout(done, 40));
    const shown = [...root.querySelectorAll(".row.completed .id")].map((el) => Number(el.textContent.split(".")[1]));
    if (shown.length) found.push([Date.now() / 1000, Math.max(...shown)]);
  }
  return found;
}"""


@pytest.mark.bench
def test_a_thousand_events_a_second_are_drawn(case: Callable[..., Case], extended: Lab) -> None:
    """From a step's end in the kernel to its row in the page, in order: p99 < 300 ms."""
    from jupyter_durable.session import open_store

    it = case("fast", SETUP + "\n@durable.tool\ndef tick(n: int) -> int:\n    return n\n", FAST)
    it.nb.run(0)
    it.nb.run(1, wait=False)
    it.badge(1, "running").get_by_role("button", name="Timeline").click()
    it.page.locator(".jp-durable-tab .row.completed").first.wait_for()
    samples = it.page.evaluate(SAMPLE, 5)
    it.badge(1, "done")
    with open_store(str(extended.store)) as store:
        ends = [step.ended_at or 0.0 for step in store.steps("fast")]
    numbers = [n for _, n in samples]
    assert numbers == sorted(numbers)
    # What is newest in the page is late by what has ended since and is not there.
    late = sorted(max(0.0, at - ends[n + 1]) for at, n in samples if n + 1 < len(ends))
    print(
        f"{len(late)} looks, p50 {late[len(late) // 2] * 1000:.0f} ms, p99 {late[len(late) * 99 // 100] * 1000:.0f} ms"
    )
    assert late[len(late) * 99 // 100] < 0.3
