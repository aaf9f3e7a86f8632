"""What one visitor may ask for: strict on a public Space, open on one's own machine."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper bounds, checked on the server for every request."""

    model_bytes: int
    """Weights of a model in the dtype that it is loaded in."""
    tokens: int
    """Calibration tokens, and evaluation tokens, of one run."""
    length: int
    """Tokens of one window."""
    points: int
    """Prunings measured in one run."""
    text_characters: int
    """Characters of a visitor's own text."""
    seconds: float
    """Time of one run, from its turn in the queue."""
    fetch_seconds: float
    """Time to download a model or a text."""
    waiting: int
    """Runs that may wait in the queue."""
    waiting_each: int
    """Of these, runs of one visitor."""
    waiting_address: int
    """Of these, runs from one address, where a whole class may sit."""
    unwatched_seconds: float | None
    """How long a run goes on that no page reads of; None: to its end."""
    shared_bytes: int
    """Loaded models that are kept, together."""
    result_bytes: int
    """Results that are kept for reuse, together."""
    result_seconds: float
    """How long an unused result is kept."""
    request_bytes: int
    """Size of a request's body."""
    upload_seconds: int
    """How long an uploaded file is kept."""
    uploads_bytes: int
    """Uploaded files that are kept, together."""
    sessions: int
    """Visits whose state is kept."""
    export_bytes: int
    """Weights of a model that may be exported from the page."""
    exports_bytes: int
    """Files of all exports that are kept for download, together."""
    hub_bytes: int | None
    """The Hub's cache on the disk before a model is added; None: it is not ours to empty, other programs use it."""


PUBLIC = "WANDA_LAB_PUBLIC"
"""Names the variable that `app --public` sets."""
SPACE = bool(os.environ.get("SPACE_ID"))
"""On a Space of the Hub: the machine is the page's own, and visitors can sign in."""
HOSTED = SPACE or bool(os.environ.get(PUBLIC))

LIMITS = (
    Limits(
        model_bytes=6_000_000_000,
        tokens=32_768,
        length=2048,
        points=12,
        text_characters=500_000,
        seconds=600,
        fetch_seconds=300,
        waiting=40,
        waiting_each=2,
        waiting_address=30,
        unwatched_seconds=30,
        shared_bytes=8_000_000_000,
        result_bytes=500_000_000,
        result_seconds=3600,
        request_bytes=4_000_000,
        upload_seconds=3600,
        uploads_bytes=500_000_000,
        sessions=300,
        export_bytes=1_500_000_000,
        exports_bytes=6_000_000_000,
        hub_bytes=20_000_000_000 if SPACE else None,
    )
    if HOSTED
    else Limits(
        model_bytes=1_000_000_000_000,
        tokens=1_048_576,
        length=8192,
        points=60,
        text_characters=5_000_000,
        seconds=24 * 3600,
        fetch_seconds=24 * 3600,
        waiting=100,
        waiting_each=20,
        waiting_address=100,
        unwatched_seconds=None,
        shared_bytes=100_000_000_000,
        result_bytes=2_000_000_000,
        result_seconds=24 * 3600,
        request_bytes=32_000_000,
        upload_seconds=24 * 3600,
        uploads_bytes=5_000_000_000,
        sessions=300,
        export_bytes=1_000_000_000_000,
        exports_bytes=100_000_000_000,
        hub_bytes=None,
    )
)
