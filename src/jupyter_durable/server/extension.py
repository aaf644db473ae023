"""What Jupyter Server loads: the handlers, over one backend."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jupyter_durable.server.backend import Backend
from jupyter_durable.server.handlers import handlers
from jupyter_durable.server.hub import Hub
from jupyter_durable.server.routes import PREFIX
from jupyter_durable.server.stream import Stream

_THREADS = 4


def load(app: Any) -> None:
    """Add the handlers to a `jupyter_server.serverapp.ServerApp`. The store is opened with the first request."""
    root = Path(app.root_dir).expanduser() if getattr(app, "root_dir", "") else None
    backend = Backend(None, root)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="jupyter-durable")
    base = app.web_app.settings["base_url"]
    ours: list[Any] = list(handlers(base, backend, pool))
    events = f"{re.escape(base.rstrip('/'))}/{PREFIX}/events"
    ours.append((events, Stream, {"hub": Hub(backend)}))
    app.web_app.add_handlers(".*$", ours)
    app.log.info("jupyter_durable: runs of durable cells are served at %s%s/", base, PREFIX)
