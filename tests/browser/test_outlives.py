"""Runs outlive the kernel, the page, the server, and the notebook's being open: in a real JupyterLab and a real Notebook 7."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

import pytest
from cases import ASKS, CUT, SETUP, Case, close_when_in_the_way, panel
from pages import Lab, shot

APPS = pytest.mark.parametrize("app", ["lab", "notebooks"], ids=["lab", "notebook7"])


@APPS
def test_a_killed_kernel_is_noticed_and_resumed_by_a_click(case: Callable[..., Case], app: str) -> None:
    """Run, kill, notice, click: the cell finishes, and its steps are not made again."""
    it = case("killed", SETUP, CUT, app=app)
    it.badge(1, "not run")
    it.until_cut()
    it.kill()
    notice = it.notice(f"{it.name} stopped at step 6")
    it.settle()
    shot(it.page, f"ext-notice-{app}")
    notice.get_by_role("button", name="Resume").click()
    it.finished()
    it.page.locator(".jp-durable-banner .jp-durable-line").wait_for(state="detached")
    shot(it.page, f"ext-resumed-{app}")


@APPS
def test_resumed_after_a_reload(case: Callable[..., Case], app: str) -> None:
    """The page knows it from the server: nothing of it was in the notebook's file."""
    it = case("reloaded", SETUP, CUT, app=app)
    it.until_cut()
    it.kill()
    it.notice(f"{it.name} stopped at step 6")
    it.open()
    it.notice(f"{it.name} stopped at step 6").get_by_role("button", name="Resume").click()
    it.finished()


@APPS
def test_resumed_after_the_server_was_restarted(case: Callable[..., Case], extended: Lab, app: str) -> None:
    """Server and kernel gone, the page still open: it comes back to a new server, and the run is there."""
    it = case("restarted", SETUP, CUT, app=app)
    it.until_cut()
    it.nb.save()
    pid = it.pid()
    extended.close()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # a kernel may outlive its server
    extended.start()
    it.notice(f"{it.name} stopped at step 6").get_by_role("button", name="Resume").click()
    it.finished()


@APPS
def test_resumed_after_reopening_from_the_file_browser(case: Callable[..., Case], app: str) -> None:
    """The notebook is closed, its kernel shut down, and somebody opens it the next day."""
    it = case("reopened", SETUP, CUT, app=app)
    it.until_cut()
    it.nb.save()
    it.kill()
    it.notice(f"{it.name} stopped at step 6")
    it.settle()
    it.reopen()
    it.notice(f"{it.name} stopped at step 6").get_by_role("button", name="Resume").click()
    it.finished()


@APPS
def test_approved_in_the_panel_while_the_kernel_is_dead(case: Callable[..., Case], app: str) -> None:
    """The decision needs no kernel; the resume honours it, and mails once."""
    it = case("approved", SETUP, ASKS, app=app)
    it.nb.run(0)
    it.nb.run(1, wait=False)
    it.badge(1, "Waits for your approval")
    status = it.page.locator(f'.jp-durable-waiting[title*="{it.name}: "]')
    if app == "lab":  # Notebook has no status bar
        status.get_by_role("button", name="for you").wait_for()
    it.kill()
    notice = it.notice(f"{it.name} stopped. Waits for your approval of mail")
    assert notice.get_by_role("button", name="Approve").count() == 1
    it.settle()
    side = panel(it.page)
    card = side.locator(".jp-durable-wait", has_text=it.name)
    card.wait_for()
    shot(it.page, f"ext-panel-waiting-{app}")
    assert "mail ada@example.org" not in it.effects()
    card.get_by_role("button", name="Approve").click()
    card.wait_for(state="detached")
    notice = it.notice(f"{it.name} has its answer, and stopped at step 2")
    assert "mail ada@example.org" not in it.effects()
    notice.get_by_role("button", name="Resume").click()
    it.badge(1, "done")
    it.nb.output(1).locator(".jp-OutputArea-executeResult", has_text="mailed ada@example.org").wait_for()
    assert it.effects() == ["fetch 1", "mail ada@example.org"]
    status.wait_for(state="detached")


@APPS
def test_two_tabs_stay_consistent(case: Callable[..., Case], app: str) -> None:
    """What one decides, the other shows; what one resumes, the other does not offer any more."""
    it = case("tabs", SETUP, ASKS, app=app)
    it.nb.run(0)
    it.nb.run(1, wait=False)
    it.badge(1, "Waits for your approval")
    other = it.context.new_page()
    other.goto(it.url.replace("/lab/tree/", "/lab/workspaces/second/tree/"))
    close_when_in_the_way(other, "Kernel Restarting")
    there = panel(other)
    row = there.locator(".jp-durable-wait", has_text=it.name)
    row.wait_for(timeout=60_000)
    it.kill()
    it.settle()
    here = panel(it.page)
    for one in (here, there):
        one.locator(".jp-durable-run", has_text=it.name).locator(
            ".jp-durable-word", has_text="waiting"
        ).wait_for()
    row.get_by_role("button", name="Approve").click()
    for one in (here, there):
        one.locator(".jp-durable-wait", has_text=it.name).wait_for(state="detached", timeout=30_000)
        one.get_by_role("button", name=f"Resume {it.name}").wait_for(timeout=30_000)
    here.get_by_role("button", name=f"Resume {it.name}").click()
    for one in (here, there):
        one.locator(".jp-durable-run.jp-mod-completed", has_text=it.name).wait_for(timeout=60_000)
        assert one.get_by_role("button", name=f"Resume {it.name}").count() == 0
    assert it.effects() == ["fetch 1", "mail ada@example.org"]
