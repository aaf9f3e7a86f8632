"""What goes on, beside the button that was pressed: waiting, working, done or failed."""

from __future__ import annotations

from html import escape

from components.display.names import control
from wanda_core.errors import Refused


def ready(message: str) -> str:
    return f'<p class="status" role="status">{escape(message)}</p>'


def waiting(place: int, passable: bool) -> str:
    """
    Args:
        place: runs before this one.
        passable: shorter ones may still be put before it.
    """
    runs = "1 run is" if place == 1 else f"{place} runs are"
    may = "; a shorter one may still pass" if passable else ""
    return f'<p class="status" role="status">In the queue: {runs} before yours{may}.</p>'


def working(doing: str, share: float, left: str) -> str:
    """A progress bar with what is being done and the time left."""
    return (
        f'<div class="status" role="status"><progress value="{share:.3f}" max="1" aria-label="Progress"></progress>'
        f"<p>{escape(doing)}<br><span>{escape(left)}</span></p></div>"
    )


def failed(message: Refused | str) -> str:
    """Why it did not work and what to do, where the eye is; settings in braces get their controls' names."""
    refused = message if isinstance(message, Refused) else Refused(message)
    said = refused.told(control)
    return f'<p class="status failed" role="alert">{escape(said[:1].upper() + said[1:])}.</p>'
