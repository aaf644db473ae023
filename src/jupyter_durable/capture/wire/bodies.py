"""A request's body as data: JSON, forms and multipart bodies parsed, so that equal requests have equal bodies."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any
from urllib.parse import parse_qsl

from jupyter_durable.capture.wire.credentials import HIDDEN, is_secret, remember, scrub
from jupyter_durable.capture.wire.frames import Inflater, Unreadable

_BOUNDARY = re.compile(r'(?i)boundary=(?:"([^"]+)"|([^\s;]+))')
_HEADER = re.compile(r"(?m)^([\w-]+):[ \t]*([^\r\n]*)")
_PARAMETER = re.compile(r'([\w*]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))')
_LIMIT = 1 << 28
"""Bytes a compressed request may grow to before it is kept as it is."""


def parse(body: bytes, content_type: str, content_encoding: str = "") -> Any:
    """The body, scrubbed: JSON data, a form's pairs, a multipart body's parts, text, or bytes. None if empty.

    Never raises: what does not parse is text, and what is no text, or cannot be decompressed, is bytes.
    """
    if not body:
        return None
    if content_encoding.lower() not in ("", "identity"):
        plain = _inflate(body, content_encoding.lower())
        if plain is None:
            return bytes(body)
        body = plain
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return form(body)
    if kind.startswith("multipart/"):
        return multipart(body, content_type)
    if kind.endswith(("json", "x-amz-json-1.0", "x-amz-json-1.1")) or body[:1] in b"{[":
        try:
            return scrub(json.loads(body))
        except (ValueError, RecursionError):
            pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return bytes(body)


def _inflate(body: bytes, encoding: str) -> bytes | None:
    if encoding not in ("gzip", "x-gzip", "deflate"):
        try:
            return Inflater(encoding).feed(body)
        except Unreadable:
            return None
    try:
        inflater = zlib.decompressobj(47)  # gzip or zlib, by their heads
        plain = inflater.decompress(body, _LIMIT)
    except zlib.error:
        return None
    return plain if inflater.eof else None


def form(body: bytes) -> Any:
    """A form's fields; a list where a name comes several times.

    >>> form(b"a=1&a=2&password=x")
    {'a': ['1', '2'], 'password': '•••'}
    """
    fields: dict[str, Any] = {}
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True)
    except ValueError:
        return bytes(body)
    for name, value in pairs:
        shown = scrub(value)
        if value and is_secret(name, value, in_url=True):
            remember(value)
            shown = HIDDEN
        if name in fields:
            before = fields[name]
            fields[name] = [*(before if isinstance(before, list) else [before]), shown]
        else:
            fields[name] = shown
    return fields


def multipart(body: bytes, content_type: str) -> Any:
    """A multipart body's parts in order, without the boundary, which is random."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return bytes(body)
    border = b"--" + (boundary[1] or boundary[2]).encode("latin-1", "replace")
    # A border stands at the start of a line; the one before the first part may be the first thing.
    pieces = (b"\r\n" + body).split(b"\r\n" + border)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        return bytes(body)
    return [_part(piece.removeprefix(b"\r\n")) for piece in pieces[1:-1]]


def _part(piece: bytes) -> dict[str, Any]:
    head, _, content = (
        piece.partition(b"\r\n\r\n") if not piece.startswith(b"\r\n") else (b"", b"", piece[2:])
    )
    headers = dict(_HEADER.findall(head.decode("utf-8", "replace")))
    headers = {name.lower(): value.strip() for name, value in headers.items()}
    disposition = {
        key.lower(): quoted or bare
        for key, quoted, bare in _PARAMETER.findall(headers.get("content-disposition", ""))
    }
    kind = headers.get("content-type", "")
    name = disposition.get("name", "")
    value = parse(content, kind)
    if isinstance(value, str) and "filename" not in disposition and is_secret(name, value, in_url=True):
        remember(value)
        value = HIDDEN
    found: dict[str, Any] = {"name": name, "value": value}
    if "filename" in disposition:
        found["filename"] = disposition["filename"]
    if kind:
        found["type"] = kind
    return found
