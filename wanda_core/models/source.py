"""Where a model comes from: found, downloaded and checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import errors as hub_errors
from huggingface_hub import model_info, snapshot_download
from huggingface_hub.utils import filter_repo_objects
from transformers import (
    AutoConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from wanda_core.assets import ASSETS
from wanda_core.errors import Refused
from wanda_core.machine import free_bytes, gigabytes
from wanda_core.models.hub_id import HUB_ID

POCKET = ASSETS / "pocket"


ALWAYS_CAUSAL = ("gpt_neox", "gpt_neox_japanese")
"""Decoders whose configurations have `is_decoder` false all the same, Pythia's among them."""


PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


UNWANTED = ["*/*", "consolidated*"]
"""Other formats of the same weights, in folders or beside the transformers ones."""


FETCHED = {
    "allow_patterns": ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"],
    "ignore_patterns": UNWANTED,
}


@dataclass(frozen=True)
class Target:
    """Where a model is to be, in which dtype, and how large it may be."""

    device: torch.device
    dtype: torch.dtype | str
    """`auto`: the checkpoint's."""
    most_bytes: int | None

    def refuse_too_much(self, source: str, fetched: int) -> None:
        """Files beside the weights, or weights that the Hub does not count, would fill the disk, too."""
        if self.most_bytes is not None and fetched > self.most_bytes:
            raise Refused(
                f"{source} has {gigabytes(fetched)} of files, at most {gigabytes(self.most_bytes)} are allowed here: "
                f"choose a smaller model"
            )

    def refuse_unfit(self, source: str, needed: int) -> None:
        if self.most_bytes is not None and needed > self.most_bytes:
            raise Refused(
                f"{source} has about {gigabytes(needed)} of weights, at most {gigabytes(self.most_bytes)} are "
                f"allowed here: choose a smaller model"
            )
        free = free_bytes(self.device)
        if needed > free:
            raise Refused(
                f"{source} needs about {gigabytes(needed)} on {self.device}, {gigabytes(free)} are free: "
                f"try {{dtype}} bfloat16 or a smaller model"
            )


def locate(source: str, revision: str | None, target: Target) -> tuple[Path, str | None]:
    """The local folder of a source, downloaded if need be, and its commit."""
    if source == "pocket":
        return POCKET, None
    folder = Path(source)
    if folder.is_dir():
        if revision is not None:
            raise Refused("{revision} applies to a Hub id, not to a local folder")
        return folder, None
    if folder.exists():
        raise Refused(f"{source} is neither a folder nor a .gguf file")
    if not HUB_ID.fullmatch(source):
        raise Refused(f"{source[:80]}: no such folder, and not a Hub id like owner/name")
    return _download(source, revision, target)


def _download(name: str, revision: str | None, target: Target) -> tuple[Path, str]:
    """Fetch a Hub model, after checking that it holds safe weights and will fit."""
    try:
        info = model_info(name, revision=revision, files_metadata=True, timeout=20)
    except hub_errors.GatedRepoError as error:
        raise Refused(_gated(name)) from error
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
    except (OSError, hub_errors.HTTPError, ValueError) as error:
        # HTTPError: also a name that cannot be looked up; ValueError: an answer that is none, as of a login page.
        return _cached(name, revision, error)
    sizes = {f.rfilename: f.size or 0 for f in info.siblings or [] if "/" not in f.rfilename}
    weights = [
        file for file in sizes if file.endswith(".safetensors") and not file.startswith("consolidated")
    ]
    refuse_unsafe(name, list(sizes), bool(weights))
    target.refuse_too_much(name, sum(sizes[file] for file in filter_repo_objects(sizes, **FETCHED)))
    counts = info.safetensors.parameters if info.safetensors else {}
    if target.dtype == "auto" or not counts:
        target.refuse_unfit(name, sum(sizes[file] for file in weights))
    else:
        target.refuse_unfit(name, sum(counts.values()) * target.dtype.itemsize)
    try:
        # The configuration first: a model of the wrong kind is refused before its weights are fetched.
        config = snapshot_download(
            name, revision=info.sha, allow_patterns=["*.json"], ignore_patterns=UNWANTED
        )
        causal_config(name, Path(config))
        folder = snapshot_download(name, revision=info.sha, **FETCHED)
    except hub_errors.GatedRepoError as error:
        raise Refused(_gated(name)) from error
    except (hub_errors.HTTPError, hub_errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise Refused(
            f"the download of {name} was interrupted: try again, what has arrived is kept"
        ) from error
    except OSError as error:
        raise Refused(f"{name} cannot be stored: {first_line(error)}") from error
    return Path(folder), info.sha


def _cached(name: str, revision: str | None, cause: Exception) -> tuple[Path, str]:
    """The copy of an earlier download, for when the Hub does not answer."""
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, hub_errors.HTTPError):
        raise Refused(
            f"the Hub cannot be reached and {name} is not in the local cache: check the network, "
            f"or give a local folder, a .gguf file or `pocket`"
        ) from cause
    return folder, folder.name


def causal_config(source: str, folder: Path) -> Any:
    """The configuration, refused unless it is that of a causal language model whose code transformers has."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise load_refusal(source, "the configuration of ", error) from error
    causal = {name for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() for name in _as_tuple(names)}
    named = causal & set(config.architectures or causal)
    # BERT and its like have a class for causal models, too, which is one only as a decoder.
    encoder = not getattr(config, "is_decoder", True) and config.model_type not in ALWAYS_CAUSAL
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or not named or encoder:
        kinds = ", ".join(config.architectures or [config.model_type])
        raise Refused(f"{source} is a {kinds}, not a causal language model: choose one that writes text")
    return config


def _as_tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def refuse_unsafe(source: str, files: list[str], weights: bool) -> None:
    if weights:
        return
    if any(file.endswith(PICKLES) for file in files):
        raise Refused(
            f"{source} has its weights as pickle only, which can run code: convert them to safetensors"
        )
    if gguf := next((file for file in files if file.endswith(".gguf")), None):
        raise Refused(f"{source} holds GGUF files: download one and give its path, such as {gguf}")
    raise Refused(f"{source} holds no weights (no .safetensors file)")


def _gated(name: str) -> str:
    return f"{name} is gated: accept its terms on its Hub page, then set HF_TOKEN or run `hf auth login`"


def load_refusal(source: str, part: str, error: Exception) -> Refused:
    """What to say of an error in a loading library; a damaged or foreign file may make it raise anything."""
    # torch reports a failed allocation on the CPU as a plain RuntimeError.
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return Refused(f"out of memory while loading {source}: try {{dtype}} bfloat16 or a smaller model")
    if "trust_remote_code" in str(error):
        return Refused(
            f"{source} needs code of its own to run, which is never executed here: choose another model"
        )
    return Refused(
        f"{part}{source} cannot be loaded, it is damaged or of an unknown kind: {first_line(error)}"
    )


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
