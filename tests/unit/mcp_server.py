"""A real MCP server for tests: `python mcp_server.py EFFECTS [PORT [KIND]]`, over stdio, or as KIND says.

KIND: `http` (streamable HTTP), `sse`, `ws` (a websocket, in version 1 of the SDK).

Every call that has an effect appends a line to the file EFFECTS; so does every start of the process.
Written against the server API of both major versions of the SDK.
"""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__)


def command(effects: Path, *more: str) -> list[str]:
    """How to start it."""
    return [sys.executable, str(HERE), str(effects), *more]


def lines(effects: Path) -> Counter[str]:
    """What has happened so far, by line."""
    return Counter(effects.read_text().splitlines()) if effects.exists() else Counter()


class HttpServer:
    """A server process on loopback."""

    def __init__(self, effects: Path, kind: str = "http") -> None:
        self.effects = effects
        self.kind = kind
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        path = {"http": "mcp"}.get(kind, kind)
        self.url = f"{'ws' if kind == 'ws' else 'http'}://127.0.0.1:{self.port}/{path}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "HttpServer":
        self.process = subprocess.Popen(
            command(self.effects, str(self.port), self.kind),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.05)
            else:
                return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


def main(effects: str, port: str = "", kind: str = "http") -> None:
    """Serve until the client is gone, or for ever."""
    try:
        from mcp.server.mcpserver import Context, MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError:  # SDK 1
        from mcp.server.fastmcp import Context
        from mcp.server.fastmcp import FastMCP as MCPServer
        from mcp.server.fastmcp.exceptions import ToolError

    def note(text: str) -> None:
        with Path(effects).open("a") as file:
            file.write(text + "\n")

    note("started")
    server: Any = MCPServer("demo")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: the first
            b: the second
        """
        note(f"add {a} {b}")
        return a + b

    @server.tool()
    def fail(text: str) -> str:
        note(f"fail {text}")
        raise ToolError(text)

    @server.tool()
    async def slow(steps: int, ctx: Context) -> str:
        for n in range(steps):
            await ctx.report_progress(n + 1, steps, f"part {n + 1}")
        note(f"slow {steps}")
        return "done"

    @server.tool()
    def die() -> str:
        """Once."""
        note("die")
        if lines(Path(effects))["die"] == 1:
            os._exit(9)
        return "alive"

    @server.resource("note://today")
    def today() -> str:
        note("read")
        return "sunny"

    @server.prompt()
    def greet(name: str) -> str:
        note(f"prompt {name}")
        return f"Say hello to {name}."

    over = {"http": "streamable-http"}.get(kind, kind)
    if not port:
        server.run("stdio")
    elif kind == "ws":
        serve_websockets(server._mcp_server, int(port))
    elif hasattr(server, "settings") and hasattr(server.settings, "port"):
        server.settings.port = int(port)
        server.run(over)
    else:
        server.run(over, host="127.0.0.1", port=int(port))


def serve_websockets(server: Any, port: int) -> None:
    """The SDK has the transport, and no server around it."""
    import uvicorn
    from mcp.server.websocket import websocket_server
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    async def connected(socket: Any) -> None:
        async with websocket_server(socket.scope, socket.receive, socket.send) as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())

    uvicorn.run(Starlette(routes=[WebSocketRoute("/ws", connected)]), host="127.0.0.1", port=port)


if __name__ == "__main__":
    main(*sys.argv[1:])
