"""What is said of a model that cannot be used."""

from __future__ import annotations

from wanda_core.errors import Refused
from wanda_core.machine import is_out_of_memory

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


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


def gated(name: str) -> Refused:
    return Refused(
        f"{name} is gated: accept its terms on its Hub page, then set HF_TOKEN or run `hf auth login`"
    )


def load_refusal(source: str, part: str, error: Exception) -> Refused:
    """What to say of an error in a loading library; a damaged or foreign file may make it raise anything."""
    if is_out_of_memory(error):
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
