"""Real Jupyter kernels for tests: start, run cells, interrupt, kill, restart.

    with Kernel(tmp_path) as kernel:
        reply = kernel.run("print('hi'); 6 * 7")
        assert (reply.stdout, reply.result) == ("hi\\n", "42")

Every kernel is isolated: its own IPython and Jupyter directories, and its own
`JUPYTER_DURABLE_STORE`, all below the directory it is given. Two kernels given the same directory
share the store, as two notebooks of one user do.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from jupyter_client import BlockingKernelClient, KernelManager
from jupyter_client.kernelspec import KernelSpec

SOURCE = Path(__file__).resolve().parents[2] / "src"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class KernelDied(RuntimeError):
    """The kernel's process ended while a cell ran; `.reply` has what arrived before."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"the kernel died; its last output: {reply.stdout!r} {reply.stderr!r}")
        self.reply = reply


@dataclass
class Reply:
    """What came back from one cell. `seconds` is from the request to the idle status."""

    msg_id: str
    status: str = "running"
    ename: str = ""
    evalue: str = ""
    execution_count: int | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    busy: bool = False
    idle: bool = False

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def done(self) -> bool:
        return self.idle and self.status != "running"

    def _text(self, name: str) -> str:
        return "".join(o["text"] for o in self.outputs if o["output_type"] == "stream" and o["name"] == name)

    @property
    def stdout(self) -> str:
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        return self._text("stderr")

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [o for o in self.outputs if o["output_type"] == kind]

    @property
    def results(self) -> list[str]:
        """The text/plain of every `Out[n]` this cell made (more than one would be a bug)."""
        return [o["data"]["text/plain"] for o in self._of("execute_result")]

    @property
    def result(self) -> str | None:
        return self.results[-1] if self.results else None

    @property
    def displays(self) -> list[dict[str, Any]]:
        """`display_data` and `update_display_data` messages: `data`, `metadata`, `transient`."""
        return [o for o in self.outputs if o["output_type"] in ("display_data", "update_display_data")]

    @property
    def tracebacks(self) -> list[str]:
        """The tracebacks shown, without colours (more than one would be a bug)."""
        return [_ANSI.sub("", "\n".join(o["traceback"])) for o in self._of("error")]

    @property
    def traceback(self) -> str:
        return "\n".join(self.tracebacks)

    def check(self) -> Reply:
        """Itself; fails if the cell did."""
        assert self.ok, f"{self.status} {self.ename}: {self.evalue}\n{self.traceback}\n{self.stderr}"
        return self


class Kernel:
    """One real kernel process.

    `python` is the executable whose ipykernel is used (default: this one); it finds the package by
    `PYTHONPATH`, so another environment needs only the package's dependencies. `env` is added to the
    environment; a value of None removes the variable.
    """

    def __init__(
        self,
        directory: Path,
        *,
        python: str = sys.executable,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.store = self.directory / "journal.db"
        self.python = python
        self.cwd = Path(cwd or directory)
        self.env = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("JUPYTER_", "JPY_", "IPYTHON", "PYTEST_"))
        }
        for name, folder in (
            ("IPYTHONDIR", "ipython"),
            ("JUPYTER_RUNTIME_DIR", "runtime"),
            ("JUPYTER_CONFIG_DIR", "config"),
            ("JUPYTER_DATA_DIR", "data"),
        ):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
            self.env[name] = str(self.directory / folder)
        self.env["JUPYTER_DURABLE_STORE"] = str(self.store)
        self.env["PYTHONPATH"] = str(SOURCE)
        self.env["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
        for name, value in (env or {}).items():
            if value is None:
                self.env.pop(name, None)
            else:
                self.env[name] = value
        self.manager: KernelManager = None
        self.client: BlockingKernelClient = None
        self.replies: dict[str, Reply] = {}

    # -- the process ---------------------------------------------------------------------------------

    def start(self) -> Kernel:
        """Start the process and wait until it answers."""
        self.manager = KernelManager(kernel_name="test")
        self.manager._kernel_spec = KernelSpec(
            argv=[
                self.python,
                "-m",
                "ipykernel_launcher",
                "-f",
                "{connection_file}",
                "--HistoryManager.enabled=False",
            ],
            display_name="test",
            language="python",
        )
        self.manager.connection_file = str(
            self.directory / "runtime" / f"kernel-{id(self)}-{time.monotonic_ns()}.json"
        )
        self.manager.start_kernel(env=self.env, cwd=str(self.cwd))
        self._connect()
        return self

    def _connect(self) -> None:
        self.client = self.manager.blocking_client()
        self.client.start_channels(hb=False)  # its thread takes a third of a second to end
        self._wait_until_ready()

    def _wait_until_ready(self, timeout: float = 60) -> None:
        # Not the client's `wait_for_ready`: that ends with a fifth of a second of silence.
        deadline = time.monotonic() + timeout
        while True:
            message = self.client.session.msg("kernel_info_request")
            reply = self.replies[message["header"]["msg_id"]] = Reply(message["header"]["msg_id"])
            self.client.shell_channel.send(message)
            try:
                self._pump(lambda reply=reply: reply.idle, reply, 0.5)
            except TimeoutError:  # it has not begun, or did before anybody listened
                if time.monotonic() > deadline:
                    raise
            else:
                return

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.process.pid)

    @property
    def alive(self) -> bool:
        return bool(self.manager.is_alive())

    def interrupt(self) -> None:
        """What the Stop button does."""
        self.manager.interrupt_kernel()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.signal(signal.SIGKILL)
        self.manager.provisioner.process.wait(10)

    def restart(self) -> None:
        """A fresh process, as after a kernel's death; everything in memory is gone."""
        self.close()
        self.start()

    def close(self) -> None:
        """End the process; may be repeated."""
        if self.client is not None:
            self.client.stop_channels()
        if self.manager is not None:
            if self.alive:
                self.signal(signal.SIGKILL)
                self.manager.provisioner.process.wait(10)
            self.manager.cleanup_resources()
        self.client = self.manager = None

    def __enter__(self) -> Kernel:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- cells ---------------------------------------------------------------------------------------

    def submit(
        self,
        code: str,
        *,
        cell_id: str | None = None,
        allow_stdin: bool = False,
        silent: bool = False,
        subshell: str | None = None,
    ) -> Reply:
        """Send a cell and return at once; `wait` for it later."""
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": True,
        }
        message = self.client.session.msg(
            "execute_request", content, metadata={"cellId": cell_id} if cell_id else None
        )
        if subshell:
            message["header"]["subshell_id"] = subshell
        reply = self.replies[message["header"]["msg_id"]] = Reply(message["header"]["msg_id"])
        self.client.shell_channel.send(message)
        return reply

    def wait(self, reply: Reply, timeout: float = 60) -> Reply:
        """Wait until the cell is done; raises `KernelDied`, or TimeoutError with what came so far."""
        self._pump(lambda: reply.done, reply, timeout)
        return reply

    def wait_for(self, reply: Reply, text: str, timeout: float = 60) -> Reply:
        """Wait until the cell has printed `text` (to either stream)."""
        self._pump(lambda: text in reply.stdout + reply.stderr, reply, timeout)
        return reply

    def run(self, code: str, *, timeout: float = 60, **how: Any) -> Reply:
        """Run one cell to its end."""
        return self.wait(self.submit(code, **how), timeout)

    def check(self, code: str, **how: Any) -> Reply:
        """Run a cell that must succeed."""
        return self.run(code, **how).check()

    def subshell(self) -> str:
        """Make a subshell and return its id (ipykernel 7)."""
        message = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(message)
        while True:
            answer = self.client.control_channel.get_msg(timeout=10)
            if answer["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                return str(answer["content"]["subshell_id"])

    def _pump(self, ready: Callable[[], bool], reply: Reply, timeout: float) -> None:
        poller = zmq.Poller()
        channels = self.client.shell_channel, self.client.iopub_channel
        for channel in channels:
            poller.register(channel.socket, zmq.POLLIN)
        deadline = time.monotonic() + timeout
        while not ready():
            if reply.done:
                raise AssertionError(f"the cell ended before that: {reply}")
            if not poller.poll(100):
                if not self.alive:
                    raise KernelDied(reply)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the cell did not finish in {timeout} s: {reply}")
            for channel in channels:
                while channel.msg_ready():
                    self._take(channel.get_msg(timeout=1))

    def _take(self, message: dict[str, Any]) -> None:
        reply = self.replies.get(message["parent_header"].get("msg_id"))
        if reply is None:
            return
        kind, content = message["msg_type"], message["content"]
        if kind == "execute_reply":
            reply.status = content["status"]
            reply.ename = content.get("ename", "")
            reply.evalue = content.get("evalue", "")
            reply.execution_count = content.get("execution_count")
        elif kind == "status":
            reply.busy = True
            if content["execution_state"] == "idle":
                reply.idle = True
                reply.seconds = time.monotonic() - reply.started
        elif kind in (
            "stream",
            "display_data",
            "update_display_data",
            "execute_result",
            "error",
            "clear_output",
        ):
            reply.outputs.append({"output_type": kind, **content})
