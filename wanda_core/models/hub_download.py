"""Models of the Hub: checked before anything large is fetched, and found again when the Hub is away."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import constants, model_info, snapshot_download
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import filter_repo_objects, get_session

from wanda_core.errors import Refused
from wanda_core.machine import gigabytes
from wanda_core.models.configuration import causal_config, check_size
from wanda_core.models.refusals import first_line, gated, refuse_unsafe
from wanda_core.models.target import Target

UNWANTED = ["*/*", "consolidated*"]
"""Other formats of the same weights, in folders or beside the transformers ones."""


FETCHED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


def download(name: str, revision: str | None, target: Target) -> tuple[Path, str | None]:
    """Fetch a Hub model, after checking that it holds safe weights and will fit."""
    hooks = get_session().event_hooks["response"]
    if _wait_shortly not in hooks:
        hooks.append(_wait_shortly)
    try:
        info = model_info(name, revision=revision, files_metadata=True, timeout=20)
    except hub_errors.GatedRepoError as error:
        raise gated(name) from error
    except hub_errors.RevisionNotFoundError as error:
        raise Refused(f"{name} has no revision {revision} on the Hub") from error
    except hub_errors.RepositoryNotFoundError as error:
        raise Refused(
            f"{name} is not on the Hub, or is private: check the name; for a private model set HF_TOKEN"
        ) from error
    except hub_errors.HFValidationError as error:
        raise Refused(f"{name} is no Hub id like owner/name") from error
    except hub_errors.HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise Refused(f"the Hub refuses {name}: {first_line(error)}") from error
        return _cached(name, revision, error)
    except Exception as error:
        # A name that cannot be looked up, or an answer that is none, as of a login page: what the library makes of it
        # may raise anything.
        return _cached(name, revision, error)
    sizes = {f.rfilename: f.size or 0 for f in info.siblings or [] if "/" not in f.rfilename}
    weights = [
        file for file in sizes if file.endswith(".safetensors") and not file.startswith("consolidated")
    ]
    refuse_unsafe(name, list(sizes), bool(weights))
    fetched = filter_repo_objects(sizes, allow_patterns=FETCHED, ignore_patterns=UNWANTED)
    target.refuse_too_much(name, sum(sizes[file] for file in fetched))
    counts = info.safetensors.parameters if info.safetensors else {}
    if isinstance(target.dtype, str) or not counts:
        needed = sum(sizes[file] for file in weights)
    else:
        needed = sum(counts.values()) * target.dtype.itemsize
    target.refuse_unfit(name, needed)
    if target.stream:
        # No memory bounds what is fetched. A number takes a byte at least, whatever the files are said to have.
        _refuse_full_disk(name, max(sum(sizes[file] for file in fetched), sum(counts.values())))
    try:
        # The configuration first: a model of the wrong kind is refused before its weights are fetched.
        config = snapshot_download(
            name, revision=info.sha, allow_patterns=["*.json"], ignore_patterns=UNWANTED
        )
        check_size(name, causal_config(name, Path(config)), target, sum(counts.values()) or None)
        blobs = Path(config).parents[1] / "blobs"
        earlier = set(blobs.iterdir()) if blobs.is_dir() else set()
        folder = snapshot_download(name, revision=info.sha, allow_patterns=FETCHED, ignore_patterns=UNWANTED)
        digests = {f.rfilename: f.lfs.sha256 for f in info.siblings or [] if f.lfs}
        _refuse_damaged(name, Path(folder), sizes, digests, earlier)
    except hub_errors.GatedRepoError as error:
        raise gated(name) from error
    except (hub_errors.HTTPError, hub_errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise Refused(
            f"the download of {name} was interrupted: try again, what has arrived is kept"
        ) from error
    except OSError as error:
        raise Refused(f"{name} cannot be stored: {first_line(error)}") from error
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"the Hub answers about {name} with what is none: try again later") from error
    _remember(Path(folder), revision or "main")
    return Path(folder), info.sha


def _refuse_damaged(
    name: str, folder: Path, sizes: dict[str, int], digests: dict[str, str], earlier: Container[Path]
) -> None:
    """Delete files that are not as long as the Hub said before, or not what it said: a proxy that gave up may end an
    answer in good form, and the Hub's own library looks at the length alone.

    Args:
        digests: SHA-256 of each file that the Hub knows it of, the weights.
        earlier: contents that were looked at when they came: to read them again takes seconds a gigabyte.
    """
    wrong = []
    for file in folder.iterdir():
        if sizes.get(file.name) not in (None, 0, file.stat().st_size):
            wrong.append(file)
        elif file.name in digests and file.resolve() not in earlier:
            with file.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != digests[file.name]:
                    wrong.append(file)
    for file in wrong:
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)
    if wrong:
        raise Refused(f"the download of {name} was interrupted: try again, what has arrived is kept")


def _wait_shortly(response: Any) -> None:
    """A Hub that is asked too much may say when to ask again, and its library would sleep for so long, an hour say."""
    for header in ("retry-after", "ratelimit"):
        if header in response.headers:
            del response.headers[header]


def _refuse_full_disk(name: str, fetched: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.exists())).free
    if fetched > free:
        raise Refused(
            f"{name} has {gigabytes(fetched)} of files, the disk has {gigabytes(free)} left: choose a smaller model"
        )


def _cached(name: str, revision: str | None, cause: Exception) -> tuple[Path, str]:
    """The copy of an earlier download, for when the Hub does not answer."""
    try:
        found = snapshot_download(
            name,
            revision=revision,
            local_files_only=True,
            allow_patterns=FETCHED,
            ignore_patterns=UNWANTED,
        )
    except (OSError, hub_errors.HTTPError):
        raise Refused(
            f"the Hub cannot be reached and {name} is not in the local cache: check the network, "
            f"or give a local folder, a .gguf file or `pocket`"
        ) from cause
    folder = Path(found)
    return folder, folder.name


def _remember(folder: Path, revision: str) -> None:
    """Note which commit a branch or tag was, as the Hub's library does when it is asked by name: it looks there when
    the Hub does not answer."""
    if re.fullmatch(r"[\w][\w.-]*", revision) and revision != folder.name:
        reference = folder.parents[1] / "refs" / revision
        with suppress(OSError):  # a cache that cannot be written to
            reference.parent.mkdir(exist_ok=True)
            reference.write_text(folder.name)
