"""Who asks, from where, and whether they still read what they are told."""

from __future__ import annotations

import re
import secrets
from ipaddress import ip_address, ip_network

import gradio as gr
from gradio.context import LocalContext

VISITOR = re.compile(r"[A-Za-z0-9_-]{20,64}")
"""An id that the page made: random, kept by the browser, the key to its own jobs."""


def owner_of(visitor: object, request: gr.Request) -> str:
    """Whose jobs these are: the browser's own id; without one, the session's. Neither can be had for the other."""
    if isinstance(visitor, str) and VISITOR.fullmatch(visitor):
        return f"visitor {visitor}"
    return f"session {request.session_hash or secrets.token_urlsafe()}"


def address_of(request: gr.Request | None) -> str:
    """Where a request comes from. What a client says of itself counts only where a proxy of ours passed it on, and then
    what the last proxy outside said."""
    asked = request.request if request else None
    if asked is None:
        return ""
    host = asked.client.host if asked.client else ""
    passed_on = asked.headers.get("x-forwarded-for", "").split(",")
    return next((place for each in (host, *reversed(passed_on)) if (place := _public(each))), host)


def _public(address: str) -> str | None:
    """An address of the internet, of IPv6 the network that one household has; None: it is none."""
    try:
        found = ip_address(address.strip())
    except ValueError:
        return None
    if not found.is_global:
        return None
    return str(found) if found.version == 4 else str(ip_network((found, 64), strict=False))


def is_read() -> bool:
    """Whether somebody reads what the request that is handled now is told: Gradio carries on without."""
    blocks, request = LocalContext.blocks.get(None), LocalContext.request.get(None)
    if blocks is None or request is None:  # nobody's request
        return True
    messages = blocks._queue.pending_messages_per_session.get(request.session_hash)
    return messages is not None and messages.empty()
