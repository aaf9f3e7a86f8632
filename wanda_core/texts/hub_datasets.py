"""Texts out of datasets of the Hub."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from wanda_core.deadline import within
from wanda_core.errors import Refused
from wanda_core.texts.records import ACCEPTED, Joined, join_rows, refuse

# The prefix: a local folder of the same name is never read in a dataset's place.
HUB = "hf://datasets/"


DATASETS: dict[str, dict[str, Any]] = {
    "wikitext2": {"path": HUB + "Salesforce/wikitext", "name": "wikitext-2-raw-v1", "streaming": False},
    "c4": {
        "path": HUB + "allenai/c4",
        # Of its configuration `en` the first files alone, as in the papers.
        "data_files": {
            "train": "en/c4-train.00000-of-01024.json.gz",
            "validation": "en/c4-validation.00000-of-00008.json.gz",
        },
        "streaming": True,
    },
}
"""Short names, as arguments of `datasets.load_dataset`. What is not streamed stays in its cache."""

SPLITS = {"calibration": ("train",), "evaluation": ("test", "validation", "train")}
"""Splits of a dataset to look for, best first."""


STREAM_CHARACTERS = 4_000_000
"""Read of a stream where the caller sets no bound: a million tokens of English; the papers use 262,144."""

_DATASET = re.compile(
    r"([a-z0-9][\w.-]*/[a-z0-9][\w.-]*)(?::([\w.-]+))?(?:@([\w.-]+))?(?:#([^#]{1,100}))?",
    re.ASCII | re.IGNORECASE,
)
"""owner/name, configuration, split and column."""

PROBE_SECONDS = 10
"""The Hub has to answer within, before anything is asked of `datasets`, which tries for minutes."""

RETRIES = 3
"""Of each read of a stream."""


def read_dataset(
    spec: str,
    role: str,
    characters: int,
    most: int | None,
    seconds: float | None,
    stop: threading.Event | None,
) -> tuple[str, Joined, str | None]:
    """Name, text and, of a stream, source.

    Args:
        seconds: given up after so many; None: never.
    """
    parts = _DATASET.fullmatch(spec)
    how = DATASETS.get(spec)
    if how is None:
        if parts is None:
            raise refuse(f"`{spec}` is neither a file nor the name of a dataset: give {ACCEPTED}")
        how = {"path": HUB + parts[1], "name": parts[2], "streaming": True}
    split, column = (parts[3], parts[4]) if parts else (None, None)

    def read() -> tuple[str, Joined, str | None]:
        with quiet_load_dataset(reachable=_probe(how["path"].removeprefix(HUB))) as load_dataset:
            splits = load_dataset(**how)
            chosen = split or next((wanted for wanted in SPLITS[role] if wanted in splits), None)
            if chosen not in splits:
                what = f"split `{split}`" if split else f"split for {role}"
                raise refuse(f"{spec} has no {what}, only {', '.join(splits)}: name one as @SPLIT")
            rows = splits[chosen]
            name = spec if split else f"{spec} ({chosen})"
            if not how["streaming"]:
                return name, join_rows(rows, name, column, most=most), None
            source = f"{how['path']}:{rows.info.config_name}:{chosen}".lower() + (
                f"#{column}" if column else ""
            )
            return name, join_rows(rows, name, column, characters, most), source

    return read() if seconds is None else within(seconds, f"reading {spec}", read, stop)


def _probe(name: str) -> bool:
    """Whether the Hub answers, which is asked once and shortly. What it says of the dataset is found out later."""
    import httpx2
    from huggingface_hub import constants, dataset_info, errors

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        dataset_info(name, timeout=PROBE_SECONDS)
    except errors.HfHubHTTPError as error:
        return error.response is None or error.response.status_code < 500
    except (OSError, httpx2.TransportError):
        return False
    except ValueError:  # no id of the Hub, or an answer that is none
        return True
    return True


@contextmanager
def quiet_load_dataset(*, reachable: bool = True) -> Iterator[Callable[..., Any]]:
    """`datasets.load_dataset` without bars and log lines: what goes wrong is said once, in what we raise.

    Args:
        reachable: False: take what is in the cache, without minutes of attempts to reach the Hub.
    """
    import datasets  # slow to import, and plain text does without
    import huggingface_hub.utils as hub
    from huggingface_hub import constants as hub_constants

    with ExitStack() as restore:
        for library in (datasets, hub):
            restore.callback(library.logging.set_verbosity, library.logging.get_verbosity())
            library.logging.set_verbosity(library.logging.CRITICAL)
            if not library.are_progress_bars_disabled():
                restore.callback(library.enable_progress_bars)
                library.disable_progress_bars()
        settings = {"STREAMING_READ_MAX_RETRIES": RETRIES, "STREAMING_READ_RETRY_INTERVAL": 1}
        if not reachable:
            settings["HF_HUB_OFFLINE"] = True
            restore.callback(setattr, hub_constants, "HF_HUB_OFFLINE", hub_constants.HF_HUB_OFFLINE)
            hub_constants.HF_HUB_OFFLINE = True
        for name, value in settings.items():
            restore.callback(setattr, datasets.config, name, getattr(datasets.config, name))
            setattr(datasets.config, name, value)
        yield datasets.load_dataset


def refusal_of(spec: str, error: Exception) -> Refused:
    """What to do about an error that reading `spec` ended in."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    # `datasets` raises one class for gated and for missing datasets, and hides some errors inside a message.
    if isinstance(error, GatedRepoError) or "is a gated dataset" in str(error):
        return refuse(
            f"{spec} is gated: accept its terms on the Hub, and set HF_TOKEN or run `hf auth login`"
        )
    if isinstance(error, DatasetNotFoundError):
        return refuse(f"the Hub shows no dataset {spec} (a private one needs HF_TOKEN): give {ACCEPTED}")
    if isinstance(error, ConnectionError) or LocalEntryNotFoundError.__name__ in repr(error):
        return refuse(
            f"the Hub cannot be reached for {spec}: give a local file, or `pydoc`: no network needed"
        )
    if isinstance(error, UnicodeDecodeError):
        return refuse(f"{spec} is not UTF-8 text: save it as UTF-8")
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return refuse(f"{spec} cannot be read ({reason}): repair it, or give another text")
