"""How fast products with pruned weights are on this machine, by the shapes of a model's layers: dense and packed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wanda_core.machine import is_out_of_memory, machine
from wanda_core.method.masks import structured_mask, unstructured_mask
from wanda_core.models.language_model import LanguageModel
from wanda_core.models.prunable_layers import ExpertLayer, PrunableModel
from wanda_core.speed.kernels import cuda
from wanda_core.speed.kernels.formats import Masked, TwoFour
from wanda_core.speed.packed_model import why_not_on_cpu
from wanda_core.speed.peaks import measure_peaks
from wanda_core.speed.timing import (
    GRAPH,
    ROUNDS,
    OnProgress,
    Row,
    fill_in_ratios,
    graphed,
    interleaved,
    new_row,
    timing,
)

COLD_BYTES = 96 * 2**20
"""Copies of a small weight are used in turn until they are as large as this: within a model, too, a layer's weight
comes from memory, not from the processor's cache."""


TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
"""Error of a product that is let through to timing, as a share of sum |w||x|."""


def shapes_of(prunable: PrunableModel) -> dict[tuple[int, int], int]:
    """The distinct shapes (out_features, in_features) of a model's linear layers, and how many there are of each."""
    matrices = [layer.weight for layer in prunable.layers if not isinstance(layer, ExpertLayer)]
    return dict(Counter((matrix.shape[0], matrix.shape[1]) for matrix in matrices))


def measure_shapes(
    shapes: Mapping[tuple[int, int], int],
    tokens: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
    *,
    on_row: Callable[[Row], None] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> list[Row]:
    """Time the product of every shape at every number of tokens: dense, and packed by every kernel of the device.

    Random weights, half of them zero; every kernel's product is checked against the masked dense one before it is
    timed. Rounds are interleaved: each kernel runs once in every round.

    Returns:
        Rows of `COLUMNS`, `dense` first at every point; a kernel that does not take a point says why in `error`.

    Raises:
        Stopped: `stop` was set.
    """
    rows = []
    points = [(shape, count) for shape in shapes for count in tokens]
    for done, (shape, count) in enumerate(points):
        name = f"{shape[0]}x{shape[1]}"
        if on_progress:
            on_progress(done / len(points), f"{name}, {count} token{'s' * (count > 1)}")
        for row in _measure_point(shape, count, device, dtype, stop):
            rows.append(new_row(part="layer", shape=name, layers=shapes[shape], tokens=count) | row)
            if on_row:
                on_row(rows[-1])
    return rows


def _measure_point(
    shape: tuple[int, int],
    tokens: int,
    device: torch.device,
    dtype: torch.dtype,
    stop: threading.Event | None,
) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator).to(dtype)
    inputs = torch.randn(tokens, shape[1], generator=generator).to(dtype).to(device)
    contenders, missing = _contenders(weight, device)
    copies = max(1, min(64, cold_bytes(device) // weight.nbytes))
    errors = {name: _wrong(make, pruned, inputs) for name, (make, pruned, _) in contenders.items()}
    calls: dict[str, Callable[[], Any]] = {}
    for name, (make, _, _) in contenders.items():
        if not errors[name]:
            calls[name] = partial(_all_products, [make() for _ in range(copies)], inputs)
    if device.type == "cuda":
        for name, call in list(calls.items()):
            try:
                calls[name + GRAPH], errors[name + GRAPH] = graphed(call, device), ""
            except RuntimeError as error:
                errors[name + GRAPH] = _reason(error)
    times = interleaved(calls, device, stop)
    rows = []
    for name, said in errors.items():
        size = contenders[name.removesuffix(GRAPH)][2]
        row = {"kernel": name, "bytes": size, "bound": weight.nbytes / size, "error": said or None}
        if name in times:
            timed = timing([seconds / copies for seconds in times[name]], tokens)
            row |= timed | {
                "gigabytes_per_second": size / timed["milliseconds"] / 1e6,
                "gigaflops_per_second": 2 * weight.numel() * tokens / timed["milliseconds"] / 1e6,
            }
        rows.append(row)
    fill_in_ratios(rows)
    return rows + [{"kernel": name, "error": reason} for name, reason in missing.items()]


def _all_products(products: Sequence[Callable[[Tensor], Tensor]], inputs: Tensor) -> list[Tensor]:
    return [product(inputs) for product in products]


def _contenders(
    weight: Tensor, device: torch.device
) -> tuple[dict[str, tuple[Any, Tensor, int]], dict[str, str]]:
    """What is timed: by name, a function that makes a product, the weight with its zeros and the bytes it reads; and
    by name why one is not."""
    dtype, shape = weight.dtype, (weight.shape[0], weight.shape[1])
    scores = weight.float().abs()
    half = weight * unstructured_mask(scores, 0.5, "output")
    mask = structured_mask(scores, 2, 4) if shape[1] % 4 == 0 else None
    two_four = half if mask is None else weight * mask

    def torch_product(matrix: Tensor) -> Callable[[], Callable[[Tensor], Tensor]]:
        def make() -> Callable[[Tensor], Tensor]:
            own = matrix.to(device, copy=True)
            return lambda inputs: torch.nn.functional.linear(inputs, own)

        return make

    found = {
        "dense": (torch_product(weight), weight, weight.nbytes),
        "masked dense": (torch_product(two_four), two_four, weight.nbytes),
    }
    missing = {}
    width = "2:4 needs inputs in groups of four" if mask is None else ""
    if device.type == "cuda":
        for backend in cuda.BACKENDS:
            reason = width or cuda.why_not_here(backend, device) or cuda.why_not(backend, shape, dtype)
            on_device = two_four.to(device)

            def make(backend: str = backend, matrix: Tensor = on_device) -> Callable[[Tensor], Tensor]:
                sparse = cuda.compress(matrix, backend)
                return lambda inputs: torch.nn.functional.linear(inputs, sparse)

            # As both formats are laid out: half the values, and two bits for the place of each.
            size = two_four.nbytes // 2 + two_four.numel() // 8
            if reason:
                missing[f"2:4 {backend}"] = reason
            else:
                found[f"2:4 {backend}"] = (make, two_four, size)
        return found, missing

    from wanda_core.speed.kernels.cpu import Tiled, TiledDense, TiledMasked, TiledTwoFour

    tiled: dict[str, tuple[Callable[[], Tiled], Tensor]] = {}
    if reason := why_not_on_cpu(dtype, two_four=True):
        return found, dict.fromkeys(("dense numba", "2:4 numba", "bitmask numba"), reason)
    tiled["dense numba"] = (partial(TiledDense, weight), weight)
    if mask is None:
        missing["2:4 numba"] = width
    else:
        tiled["2:4 numba"] = (partial(TiledTwoFour, TwoFour.pack(two_four, mask)), two_four)
    if reason := why_not_on_cpu(dtype, two_four=False):
        missing["bitmask numba"] = reason
    else:
        tiled["bitmask numba"] = (partial(TiledMasked, Masked.pack(half, half != 0)), half)
    for name, (new, matrix) in tiled.items():
        found[name] = (partial(_product, new), matrix, new().nbytes)
    return found, missing


def _product(new: Callable[[], Any]) -> Callable[[Tensor], Tensor]:
    """The product of a tiled weight of its own."""
    return new().linear


def _wrong(make: Callable[[], Callable[[Tensor], Tensor]], weight: Tensor, inputs: Tensor) -> str:
    """Why a kernel's product is not that of the dense weight with its zeros; empty where it is."""
    try:
        outputs = make()(inputs)[:16]
    except RuntimeError as error:
        return _reason(error)
    few = inputs[:16]
    exact = few.double() @ weight.to(inputs.device).double().T
    scale = few.double().abs() @ weight.to(inputs.device).double().abs().T
    off = float(((outputs.double() - exact).abs() / scale.clamp_min(1e-30)).max())
    return "" if off <= TOLERANCE[weight.dtype] else f"gives another product: off by {off:.1e} of sum |w||x|"


def _reason(error: RuntimeError) -> str:
    """What a failing kernel says, so that the others are timed all the same; a device that failed is no kernel's."""
    lost = isinstance(error, torch.AcceleratorError) and "captur" not in str(error)
    if lost or is_out_of_memory(error):
        raise error
    return f"fails: {str(error).splitlines()[0]}"


def cold_bytes(device: torch.device) -> int:
    """How large copies of a weight together must be, so that none is still in a cache when its turn comes again."""
    if device.type != "cuda":
        return COLD_BYTES
    return max(COLD_BYTES, 2 * torch.cuda.get_device_properties(device).L2_cache_size)


def protocol(model: LanguageModel | None, tokens: Sequence[int], device: torch.device, dtype: Any) -> Row:
    """How and where it is measured, what the machine can do at most, and what cannot be measured on it."""
    described = (
        {"source": None, "revision": None}
        if model is None
        else {"source": model.source, "revision": model.revision}
    )
    return (
        described
        | machine(device, dtype)
        | {
            "tokens": list(tokens),
            "peaks": asdict(measure_peaks(device, dtype)),
            "rounds": f"interleaved, up to {ROUNDS} for a shape",
            "cuda": "measured"
            if device.type == "cuda"
            else cuda.why_not_here("cusparselt") or "measured where the model is on it",
            "date": datetime.now(UTC).date().isoformat(),
        }
    )
