"""The form of the Hub's ids."""

from __future__ import annotations

import re

_PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(rf"(?:{_PART}/)?{_PART}", re.ASCII)


def is_hub_id(text: str, *, owner: bool = True) -> bool:
    """Whether the text is `owner/name` as the Hub allows it, so that it is no path and no address.

    Args:
        owner: whether the owner must be there; the Hub knows some old models, such as `gpt2`, without one.
    """
    if not _ID.fullmatch(text) or ".." in text or "--" in text or text.endswith(".git"):
        return False
    return "/" in text or not owner
