"""Where a model comes from: a name, a local folder, or the Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download

from wanda_core.errors import Refused
from wanda_core.models.hub_download import download
from wanda_core.models.hub_id import is_hub_id
from wanda_core.models.named_sources import POCKET
from wanda_core.models.target import Target


def locate(source: str, revision: str | None, target: Target) -> tuple[Path, str | None]:
    """The local folder of a source, downloaded if need be, and its commit."""
    if source == "pocket":
        if revision is not None:
            raise Refused("{revision} applies to a Hub id, not to pocket")
        return POCKET, None
    folder = Path(source)
    try:
        here = folder.is_dir()
    except OSError as error:  # a name longer than any can be
        raise Refused(f"{source[:80]} cannot be read: {error.strerror}") from error
    if here:
        if revision is not None:
            raise Refused("{revision} applies to a Hub id, not to a local folder")
        return folder, None
    if folder.exists():
        raise Refused(f"{source} is neither a folder nor a .gguf file")
    if not is_hub_id(source, owner=False):
        raise Refused(f"{source[:80]}: no such folder, and not a Hub id like owner/name")
    return download(source, revision, target)


def folder_of(source: str, commit: str | None) -> Path:
    """The folder that a model was loaded from, without asking the Hub again.

    Args:
        commit: of a Hub model, as it was loaded; None: `source` is here.
    """
    if commit is not None:
        return Path(snapshot_download(source, revision=commit, local_files_only=True))
    return POCKET if source == "pocket" else Path(source)
