"""The Jupyter Server extension: REST and a live event stream over the store that the kernels write.

extension   what Jupyter Server loads
routes      every operation: path, parameters, body, answer; the OpenAPI document is made of it
handlers    HTTP: who may, how large, what a fault looks like
stream      the WebSocket
└── hub     one thread that looks at the store while somebody listens
backend     what they all ask: runs as items of a list, a run as its timeline
shapes      the JSON data of all of that; the front end's TypeScript types are made of it

Nothing here is imported by a kernel, and nothing outside this package imports it.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyter_durable.server"}]


def _load_jupyter_server_extension(app: Any) -> None:
    from jupyter_durable.server.extension import load

    load(app)
