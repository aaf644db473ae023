"""What a step prints and displays is kept with it, told apart from its neighbours', and shown again."""

from __future__ import annotations

import pytest
from kernels import Kernel

SETUP = """
import asyncio, concurrent.futures, contextvars, json, logging, sys, threading, time
early = logging.StreamHandler()     # takes hold of sys.stderr before anything is attached
log = logging.getLogger("early"); log.addHandler(early); log.propagate = False
from IPython.display import HTML, Image, clear_output, display, update_display
from IPython.utils.capture import capture_output
from jupyter_durable.kernel.outputs import OutputRecorder

rec = OutputRecorder(get_ipython())
clean = sys.stdout.write, sys.stderr.write, get_ipython().display_pub.publish
rec.attach()

def recorded(fn, *args):
    r = rec.start()
    try: fn(*args)
    finally: out = rec.stop(r)
    json.dumps(out)
    return out

def brief(out):
    return [(o["name"], o["text"]) if o["output_type"] == "stream" else
            (o["output_type"], o.get("data", {}).get("text/plain")) for o in out]
"""


@pytest.fixture(scope="module", autouse=True)
def installed(kernel: Kernel) -> None:
    """An attached recorder, and helpers that record one call."""
    kernel.check(SETUP)


@pytest.mark.slow
def test_streams_and_displays_in_order(kernel: Kernel) -> None:
    """Prints, errors and displays are shown at once and recorded in order, neighbours on one stream merged."""
    reply = kernel.check(
        "def work():\n"
        "    print('one'); sys.stdout.write('two\\n'); print('err', file=sys.stderr)\n"
        "    display('shown'); print('three'); log.warning('logged')\n"
        "out = recorded(work)\nbrief(out)"
    )
    assert reply.stdout == "one\ntwo\nthree\n"
    assert reply.stderr == "err\nlogged\n"
    assert [d["data"]["text/plain"] for d in reply.displays] == ["'shown'"]
    assert eval(reply.result) == [
        ("stdout", "one\ntwo\n"),
        ("stderr", "err\n"),
        ("display_data", "'shown'"),
        ("stdout", "three\n"),
        ("stderr", "logged\n"),
    ]


def test_shown_again_natively(kernel: Kernel) -> None:
    """Showing a recording sends the messages that making it sent, in the order they were made."""
    code = "def work():\n    print('a'); display(HTML('<b>x</b>')); print('b', file=sys.stderr); print('c')\n"
    live = kernel.check(code + "out = recorded(work)")
    again = kernel.check("rec.show(out)")

    assert [(o.get("name"), o.get("text")) for o in again.outputs] == [
        ("stdout", "a\n"),
        (None, None),
        ("stderr", "b\n"),
        ("stdout", "c\n"),
    ]
    assert sorted(map(str, again.outputs)) == sorted(map(str, live.outputs)), "live, the two streams may race"


def test_result_only(kernel: Kernel) -> None:
    """A step without output records nothing, and showing nothing sends nothing."""
    assert (
        kernel.check("out = recorded(lambda: None); print(out); rec.show([]); rec.show(out)").stdout == "[]\n"
    )


def test_concurrent_tasks_are_told_apart(kernel: Kernel) -> None:
    """Tasks that print in turns each keep their own lines, and those of the tasks they start."""
    reply = kernel.check(
        "async def sub(name):\n    await asyncio.sleep(0); print(name, 'sub')\n"
        "async def step(name):\n"
        "    r = rec.start()\n"
        "    for i in range(3):\n        print(name, i); await asyncio.sleep(0.01)\n"
        "    await asyncio.gather(sub(name))\n"
        "    display(name)\n"
        "    return brief(rec.stop(r))\n"
        "await asyncio.gather(*map(step, 'abc'))"
    )
    assert reply.stdout.splitlines()[:3] == ["a 0", "b 0", "c 0"], "they did run in turns"
    for name, out in zip("abc", eval(reply.result), strict=True):
        assert out == [
            ("stdout", f"{name} 0\n{name} 1\n{name} 2\n{name} sub\n"),
            ("display_data", f"'{name}'"),
        ]


def test_concurrent_threads_are_told_apart(kernel: Kernel) -> None:
    """`to_thread`, and executors and threads given a copied context, attribute output to their step."""
    reply = kernel.check(
        "both = threading.Barrier(3)\n"
        "def talk(name):\n    both.wait(10); [print(name, i) or time.sleep(0.002) for i in range(20)]; display(name)\n"
        "async def asyncs(name):\n"
        "    r = rec.start(); await asyncio.to_thread(talk, name); return brief(rec.stop(r))\n"
        "pool = concurrent.futures.ThreadPoolExecutor()\n"
        "async def pooled(name):\n"
        "    r = rec.start()\n"
        "    await asyncio.wrap_future(pool.submit(contextvars.copy_context().run, talk, name))\n"
        "    return brief(rec.stop(r))\n"
        "await asyncio.gather(asyncs('a'), asyncs('b'), pooled('c'))"
    )
    for name, out in zip("abc", eval(reply.result), strict=True):
        assert out == [("stdout", "".join(f"{name} {i}\n" for i in range(20))), ("display_data", f"'{name}'")]
    assert len(reply.stdout.splitlines()) == 60


def test_nested_steps(kernel: Kernel) -> None:
    """The outer step's recording shows everything; the inner one's only its own; replays inside are not doubled."""
    reply = kernel.check(
        "inner = []\n"
        "def outer():\n    print('before'); inner.extend(recorded(print, 'inside')); print('after')\n"
        "out = recorded(outer); print(brief(out), brief(inner))"
    )
    assert reply.stdout == (
        "before\ninside\nafter\n[('stdout', 'before\\ninside\\nafter\\n')] [('stdout', 'inside\\n')]\n"
    )
    reply = kernel.check(
        "def resumed():\n    print('before'); rec.show(inner); print('after')\nprint(brief(recorded(resumed)))"
    )
    assert reply.stdout == "before\ninside\nafter\n[('stdout', 'before\\ninside\\nafter\\n')]\n"


def test_output_after_the_end(kernel: Kernel) -> None:
    """What a task left behind prints later belongs to the step around it, not to the one that has ended."""
    reply = kernel.check(
        "async def late():\n    await asyncio.sleep(0.02); print('late')\n"
        "o = rec.start(); i = rec.start(); t = asyncio.create_task(late()); print('in time')\n"
        "inner = brief(rec.stop(i)); await t; outer = brief(rec.stop(o)); print(inner, outer)"
    )
    assert reply.stdout.endswith("[('stdout', 'in time\\n')] [('stdout', 'in time\\nlate\\n')]\n")


def test_updates_and_clearing(kernel: Kernel) -> None:
    """Display updates keep their id and cost their last state only; `clear_output` forgets what it cleared."""
    kernel.check(
        "def work():\n"
        "    h = display('0', display_id='bar')\n"
        "    for i in range(1, 50): h.update(str(i))\n"
        "out = recorded(work)"
    )
    assert eval(kernel.check("brief(out)").result) == [
        ("display_data", "'0'"),
        ("update_display_data", "'49'"),
    ]
    again = kernel.check("rec.show(out)")
    assert [(d["output_type"], d["transient"]) for d in again.displays] == [
        ("display_data", {"display_id": "bar"}),
        ("update_display_data", {"display_id": "bar"}),
    ]
    kernel.check(
        "def work():\n    for i in range(50):\n        clear_output(wait=True); print(i)\nout = recorded(work)"
    )
    assert eval(kernel.check("brief(out)").result) == [("clear_output", None), ("stdout", "49\n")]
    shown = kernel.check("rec.show(out)").outputs
    assert [o["output_type"] for o in shown] == ["clear_output", "stream"]


def test_images_are_json(kernel: Kernel) -> None:
    """Binary display data is recorded as a notebook file would hold it, and shows the same again."""
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    live = kernel.check(
        f"import base64\npng = base64.b64decode({png!r})\n"
        "out = recorded(lambda: (display(Image(png)), display({'image/png': png, 'text/plain': 'raw'}, raw=True)))"
    )
    again = kernel.check("rec.show(out)")
    for replies in (live, again):
        assert [d["data"]["image/png"].strip() for d in replies.displays] == [png, png]


def test_captured_output_stays_captured(kernel: Kernel) -> None:
    """Output captured inside a step is the step's own affair; a step under a capture is recorded all the same."""
    reply = kernel.check(
        "def quiet():\n    with capture_output() as c: print('inside'); display('d')\n    print('outside')\n"
        "print(brief(recorded(quiet)))"
    )
    assert reply.stdout == "outside\n[('stdout', 'outside\\n')]\n"
    reply = kernel.check(
        "with capture_output() as c: out = recorded(lambda: (print('x'), display('y')))\n"
        "print(brief(out), repr(c.stdout), len(c.outputs))"
    )
    assert reply.stdout == "[('stdout', 'x\\n'), ('display_data', \"'y'\")] 'x\\n' 1\n"
    reply = kernel.check(
        "def outer():\n    with capture_output(): inner.append(recorded(print, 'captured'))\n    print('open')\n"
        "inner = []; out = recorded(outer); print(brief(inner[0]), brief(out))"
    )
    assert reply.stdout == "open\n[('stdout', 'captured\\n')] [('stdout', 'open\\n')]\n"
    kernel.check("out = recorded(lambda: (print('x'), display('y')))")
    with_replay = kernel.check(
        "with capture_output() as c: rec.show(out)\nprint(repr(c.stdout), len(c.outputs))"
    )
    assert with_replay.stdout == "'x\\n' 1\n"


def test_captures_in_a_loop_leave_no_layers(kernel: Kernel) -> None:
    """Exchanging the streams a thousand times neither stacks wrappers nor records twice."""
    reply = kernel.check(
        "for i in range(1000):\n"
        "    recorded(lambda: None)\n"
        "    with capture_output(): recorded(lambda: None)\n"
        "import gc; gc.collect()\n"
        "with capture_output(): recorded(lambda: None)\n"
        "print(brief(recorded(print, 'once')), len(rec._patches) < 20)"
    )
    assert reply.stdout == "once\n[('stdout', 'once\\n')] True\n"


def test_somebody_elses_wrapper(kernel: Kernel) -> None:
    """A `write` that somebody wraps over ours, in mid-run, neither loses nor doubles output."""
    reply = kernel.check(
        "ours = sys.stdout.write\nsys.stdout.write = lambda text, *a: ours(text.upper())\n"
        "r = rec.start(); print('loud'); out = rec.stop(r); sys.stdout.write = ours\nprint(brief(out))"
    )
    assert reply.stdout == "LOUD\n[('stdout', 'loud\\n')]\n"


def test_limit(kernel: Kernel) -> None:
    """Output beyond the limit is shown but not kept, and the recording says so."""
    reply = kernel.check(
        "small = OutputRecorder(get_ipython(), limit=1000); small.attach(); r = small.start()\n"
        "for i in range(100): print('x' * 99)\nout = brief(small.stop(r)); small.detach(); out"
    )
    assert len(reply.stdout) == 10_000
    (_, kept), note = eval(reply.result)
    assert len(kept) == 1000
    assert note == ("stderr", "[output beyond 1,000 bytes was shown, but not kept]\n")


def test_widgets_of_a_dead_kernel(kernel: Kernel) -> None:
    """The view of a widget whose kernel is gone is replaced by its text, not shown as an error."""
    reply = kernel.check(
        "rec.show([{'output_type': 'display_data', 'metadata': {}, 'data': {'text/plain': 'IntProgress(3)',"
        " 'application/vnd.jupyter.widget-view+json': {'model_id': 'gone'}}}])"
    )
    assert reply.displays[0]["data"] == {"text/plain": "IntProgress(3)"}


def test_detached(kernel: Kernel) -> None:
    """After as many detaches as attaches, streams and publisher are as they were found, and nothing is heard."""
    kernel.check("rec.attach(); rec.detach()")
    assert (
        kernel.check("print(brief(recorded(print, 'still')))").stdout == "still\n[('stdout', 'still\\n')]\n"
    )
    # In an async cell: in a sync one IPython's own tee lies over everything.
    kernel.check("await asyncio.sleep(0); rec.detach()")
    try:
        state = kernel.check(
            "await asyncio.sleep(0)\n"
            "p = get_ipython().display_pub\n"
            "[hasattr(f, 'durable_recorder') for f in (sys.stdout.write, sys.stderr.write, p.publish, p.clear_output)]"
        )
        assert state.result == "[False, False, False, False]"
        assert kernel.check("print(recorded(print, 'unheard'))").stdout == "unheard\n[]\n"
    finally:
        kernel.check("rec.attach()")


def test_plain_python(capsys: pytest.CaptureFixture[str]) -> None:
    """Without IPython the standard streams are recorded and shown again."""
    import sys

    from jupyter_durable.kernel.outputs import OutputRecorder

    before = sys.stdout, sys.stdout.__dict__.get("write")
    recorder = OutputRecorder(None)
    recorder.attach()
    recording = recorder.start()
    print("hello")
    print("oops", file=sys.stderr)
    outputs = recorder.stop(recording)
    recorder.detach()
    assert (sys.stdout, sys.stdout.__dict__.get("write")) == before
    assert capsys.readouterr() == ("hello\n", "oops\n")
    recorder.show(outputs)
    assert capsys.readouterr() == ("hello\n", "oops\n")


def test_cost_of_a_silent_step() -> None:
    """Recording a step that prints nothing costs no more than the standard library's redirecting both streams does."""
    import contextlib
    import io
    import timeit

    from jupyter_durable.kernel.outputs import OutputRecorder

    def redirected() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            pass

    recorder = OutputRecorder(None)
    ours, floor = [], []
    for _ in range(30):
        recorder.attach()
        try:
            ours.append(timeit.timeit(lambda: recorder.stop(recorder.start()), number=500) / 500)
        finally:
            recorder.detach()
        floor.append(timeit.timeit(redirected, number=500) / 500)
    print(f"a silent step: {min(ours) * 1e6:.2f} µs, redirecting {min(floor) * 1e6:.2f} µs")
    assert min(ours) < 1.5 * min(floor)
