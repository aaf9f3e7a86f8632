"""Whose jobs a request's are, and where it comes from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from starlette.datastructures import Headers

from components.jobs.visitor import address_of, owner_of


def request(host: str | None = None, passed_on: str = "", session: str | None = None) -> gr.Request:
    client = SimpleNamespace(host=host) if host is not None else None
    asked: Any = SimpleNamespace(client=client, headers=Headers({"x-forwarded-for": passed_on}))
    return gr.Request(asked, session_hash=session)


@pytest.mark.parametrize(
    ("host", "passed_on", "address"),
    [
        ("8.8.8.8", "", "8.8.8.8"),
        ("8.8.8.8", "9.9.9.9", "8.8.8.8"),  # said by the client itself
        ("10.0.0.7", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.7", "1.1.1.1, 9.9.9.9", "9.9.9.9"),  # the first is forged
        ("10.0.0.7", "9.9.9.9, 10.1.2.3", "9.9.9.9"),
        ("10.0.0.7", "<b>, 10.1.2.3", "10.0.0.7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("testclient", "", "testclient"),
        (None, "", ""),
        ("2a00:1450:4001:81b::200e", "", "2a00:1450:4001:81b::/64"),
    ],
)
def test_an_address_is_the_last_that_is_not_ours(host: str | None, passed_on: str, address: str) -> None:
    assert address_of(request(host, passed_on)) == address


def test_an_id_and_a_session_are_never_taken_for_each_other() -> None:
    known = "a" * 32
    assert owner_of(known, request(session="s")) == owner_of(known, request(session="t"))
    assert owner_of(None, request(session=known)) != owner_of(known, request(session="s"))
    for forged in (None, "", "short", known + "<", ["a" * 32], {"a": 1}, 7, "a" * 65, "a" * 31 + "\n"):
        assert owner_of(forged, request(session="own")) == owner_of(None, request(session="own"))
    assert owner_of(None, request()) != owner_of(None, request())
