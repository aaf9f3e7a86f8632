"""Where a model comes from: a Hub id, a local folder, a GGUF file or `pocket`. Loaded dense and checked."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import errors as hub_errors
from huggingface_hub import model_info, snapshot_download
from huggingface_hub.utils import filter_repo_objects
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError, safe_open
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    modeling_gguf_pytorch_utils,
)
from transformers import logging as transformers_logging
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from wanda_core.errors import Refused
from wanda_core.layers import Anatomy, take_apart
from wanda_core.memory import free_bytes, gigabytes

POCKET = Path(__file__).parents[1] / "assets" / "pocket"
ALWAYS_CAUSAL = ("gpt_neox", "gpt_neox_japanese")
"""Decoders whose configurations have `is_decoder` false all the same, Pythia's among them."""
PACKED = "packed.safetensors"
"""The weights of an export without its zeros."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
UNWANTED = ["*/*", "consolidated*"]
"""Other formats of the same weights, in folders or beside the transformers ones."""
FETCHED = {
    "allow_patterns": ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"],
    "ignore_patterns": UNWANTED,
}


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A loaded dense model; shared and read-only."""

    source: str
    """As it was asked for."""
    revision: str | None
    """Commit of a Hub model."""
    fingerprint: str
    """Changes when the weights or their dtype do."""
    network: PreTrainedModel
    tokenizer: Any
    anatomy: Anatomy

    @property
    def context(self) -> int | None:
        """Longest window the model was built for, in tokens."""
        return getattr(self.network.config.get_text_config(), "max_position_embeddings", None)

    @property
    def device(self) -> torch.device:
        return self.anatomy.layers[0].stored.device

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())


def load(
    source: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    most_bytes: int | None = None,
) -> LanguageModel:
    """Load a model and its tokenizer.

    Args:
        source: `pocket`, a path to a folder or a `.gguf` file, or a Hub id.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.
        dtype: `auto` (float32 on a CPU, the checkpoint's on CUDA), `float32`, `bfloat16` or `float16`.
        revision: branch, tag or commit of a Hub model.
        most_bytes: refuse larger weights, and more files of a Hub model, before they are fetched; None: whatever the
            memory holds.

    Raises:
        Refused: not found, not reachable, not a causal language model, no safe weights, damaged, or too large.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    hub_logging.set_verbosity(hub_logging.CRITICAL)  # what goes wrong is said once, in what is raised
    place = device_named(device)
    kind = dtype_named(dtype, torch.float32 if place.type == "cpu" else "auto")
    target = _Target(place, kind, most_bytes)
    if source.endswith(".gguf"):
        return _load_gguf(source, target)
    folder, commit = _locate(source, revision, target)
    return _load_folder(source, folder, commit, target)


@dataclass(frozen=True)
class _Target:
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
                f"try --dtype bfloat16 or a smaller model"
            )


def dtype_named(name: str, default: torch.dtype | str) -> torch.dtype | str:
    """The dtype of that name, or the default for `auto`; `Refused` where there is none."""
    if name != "auto" and name not in DTYPES:
        raise Refused(f"--dtype must be auto, {', '.join(DTYPES)}")
    return DTYPES.get(name, default)


def device_named(name: str) -> torch.device:
    """The device of that name; `auto`: CUDA where there is one. `Refused` where this machine has no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        raise Refused("--device must be auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Refused(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; try --device cpu"
        )
    return device


def _locate(source: str, revision: str | None, target: _Target) -> tuple[Path, str | None]:
    """The local folder of a source, downloaded if need be, and its commit."""
    if source == "pocket":
        return POCKET, None
    folder = Path(source)
    if folder.is_dir():
        if revision is not None:
            raise Refused("--revision goes with a Hub id, not with a local folder")
        return folder, None
    if folder.exists():
        raise Refused(f"{source} is neither a folder nor a .gguf file")
    if not HUB_ID.fullmatch(source):
        raise Refused(f"{source[:80]}: no such folder, and not a Hub id like owner/name")
    return _download(source, revision, target)


def _download(name: str, revision: str | None, target: _Target) -> tuple[Path, str]:
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
            raise Refused(f"the Hub refuses {name}: {_first_line(error)}") from error
        return _cached(name, revision, error)
    except (OSError, hub_errors.HTTPError, ValueError) as error:
        # HTTPError: also a name that cannot be looked up; ValueError: an answer that is none, as of a login page.
        return _cached(name, revision, error)
    sizes = {f.rfilename: f.size or 0 for f in info.siblings or [] if "/" not in f.rfilename}
    weights = [
        file for file in sizes if file.endswith(".safetensors") and not file.startswith("consolidated")
    ]
    _refuse_unsafe(name, list(sizes), bool(weights))
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
        _config(name, Path(config))
        folder = snapshot_download(name, revision=info.sha, **FETCHED)
    except hub_errors.GatedRepoError as error:
        raise Refused(_gated(name)) from error
    except (hub_errors.HTTPError, hub_errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise Refused(f"the download of {name} broke off: try again, what has arrived is kept") from error
    except OSError as error:
        raise Refused(f"{name} cannot be stored: {_first_line(error)}") from error
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


def _load_folder(source: str, folder: Path, commit: str | None, target: _Target) -> LanguageModel:
    if not (folder / "config.json").is_file():
        raise Refused(f"{source} holds no config.json: it is not a model folder")
    files = sorted(file.name for file in folder.iterdir())
    weights = [folder / file for file in files if file.endswith(".safetensors") and not _ours(file)]
    _refuse_unsafe(source, files, bool(weights))
    config = _config(source, folder)
    size = sum(_weight_bytes(file, target.dtype) for file in weights)
    target.refuse_unfit(source, size)
    # A Hub commit names its weights; for a local folder its place and the files' names, sizes and times of change do.
    fingerprint = hashlib.sha256(f"{commit or folder.resolve()} {target.dtype}".encode())
    for file in weights:
        stat = file.stat()
        fingerprint.update(f"{file.name} {stat.st_size} {0 if commit else stat.st_mtime_ns}".encode())
    arguments = {"config": config, "dtype": target.dtype, "use_safetensors": True}
    return _load(source, commit, fingerprint.hexdigest(), target.device, str(folder), {}, arguments)


def _load_gguf(source: str, target: _Target) -> LanguageModel:
    file = Path(source)
    if not file.is_file():
        raise Refused(f"{source}: no such file")
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise Refused(f"{source} is damaged or not a GGUF file")
    dtype = torch.float32 if target.dtype == "auto" else target.dtype
    try:
        # At 4 bits a weight, the usual. The exact number takes seconds to read: only where this would not fit.
        target.refuse_unfit(source, file.stat().st_size * 2 * dtype.itemsize)
    except Refused:
        target.refuse_unfit(source, _gguf_numel(file) * dtype.itemsize)
    # Its bar, which knows no verbosity: on a terminal alone, as ours; elsewhere an error is one line.
    modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=None)
    stat = file.stat()
    named_by = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns} {dtype}"
    fingerprint = hashlib.sha256(named_by.encode()).hexdigest()
    named = {"gguf_file": file.name}
    arguments = {"quantization_config": GgufConfig(dequantize=True), "dtype": dtype}
    return _load(source, None, fingerprint, target.device, str(file.parent), named, arguments)


def _load(
    source: str,
    commit: str | None,
    fingerprint: str,
    device: torch.device,
    folder: str,
    named: dict[str, str],
    arguments: dict[str, Any],
) -> LanguageModel:
    """Load tokenizer and weights with transformers and turn what can go wrong into one line each."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **named)
    except Exception as error:
        raise _refusal(source, "the tokenizer of ", error) from error
    try:
        network, info = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=False, output_loading_info=True, **named, **arguments
        )
        network = network.to(device).eval().requires_grad_(False)
    except Exception as error:
        raise _refusal(source, "", error) from error
    if info["missing_keys"]:
        raise Refused(
            f"{source} lacks weights, {sorted(info['missing_keys'])[0]} among them: damaged or not a causal model"
        )
    return LanguageModel(source, commit, fingerprint, network, tokenizer, take_apart(network))


def _config(source: str, folder: Path) -> Any:
    """The configuration, refused unless it is that of a causal language model whose code transformers has."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise _refusal(source, "the configuration of ", error) from error
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


def _refuse_unsafe(source: str, files: list[str], weights: bool) -> None:
    if weights:
        return
    if any(file.endswith(PICKLES) for file in files):
        raise Refused(
            f"{source} has its weights as pickle only, which can run code: convert them to safetensors"
        )
    if gguf := next((file for file in files if file.endswith(".gguf")), None):
        raise Refused(f"{source} holds GGUF files: download one and give its path, such as {gguf}")
    raise Refused(f"{source} holds no weights (no .safetensors file)")


def _weight_bytes(file: Path, dtype: torch.dtype | str) -> int:
    """Bytes of a safetensors file's weights once loaded in `dtype`."""
    try:
        with safe_open(file, framework="pt") as tensors:
            count = sum(_numel(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise Refused(f"{file.name} is damaged: {_first_line(error)}") from error
    return file.stat().st_size if dtype == "auto" else count * dtype.itemsize


def _gguf_numel(file: Path) -> int:
    """Number of weights in a GGUF file."""
    from gguf import GGUFReader

    try:
        return sum(int(tensor.n_elements) for tensor in GGUFReader(file).tensors)
    except Exception as error:
        raise _refusal(str(file), "", error) from error


def _numel(shape: list[int]) -> int:
    return int(torch.Size(shape).numel())


def _ours(file: str) -> bool:
    """What our own export puts beside the weights."""
    return file in ("masks.safetensors", "calibration.safetensors", PACKED)


def _gated(name: str) -> str:
    return f"{name} is gated: accept its terms on its Hub page, then set HF_TOKEN or run `hf auth login`"


def _refusal(source: str, part: str, error: Exception) -> Refused:
    """What to say of an error in a loading library; a damaged or foreign file may make it raise anything."""
    # torch reports a failed allocation on the CPU as a plain RuntimeError.
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return Refused(f"out of memory while loading {source}: try --dtype bfloat16 or a smaller model")
    if "trust_remote_code" in str(error):
        return Refused(
            f"{source} needs code of its own to run, which is never executed here: choose another model"
        )
    return Refused(
        f"{part}{source} cannot be loaded, it is damaged or of an unknown kind: {_first_line(error)}"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
