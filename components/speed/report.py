"""What Speed says in words and tables."""

from __future__ import annotations

from html import escape
from typing import Any

from components.display.names import name
from components.display.number_format import bytes_text, threads
from components.speed.figures import kernel_name


def source_label(protocol: dict[str, Any], recorded: bool) -> str:
    model = escape(str(protocol["source"]))
    if not recorded:
        return f'<p class="label">Measured here, now, on <b>{model}</b></p>'
    return (
        f'<p class="label recorded"><b>A recorded measurement</b> of {model}, made on {escape(protocol["date"])} on '
        f"{escape(protocol['device'])}, {threads(protocol['threads'])}. Press Measure speed to measure this "
        "machine.</p>"
    )


def verdict_html(rows: list[dict[str, Any]]) -> str:
    """One plain sentence on what packing gains when the model writes, and one on zeros stored as zeros."""
    packed = next((row for row in rows if row["part"] == "decode" and row["kernel"] == "2:4"), None)
    if packed is None:
        return "The layers are measured; the whole model comes next."
    dense = next(row for row in rows if row["part"] == "decode" and row["kernel"] == "dense")
    said = (
        f"Packed 2:4 generates <b>{packed['tokens_per_second']:.3g} tokens/s, {packed['times_dense']:.2f} × dense</b>, "
        f"{_pace(packed, dense)} (limit from memory traffic: {packed['bound']:.2f} ×)."
    )
    masked = next((row for row in rows if row["part"] == "decode" and row["kernel"] == "masked dense"), None)
    if masked is not None:
        said += f" With zeros stored as zeros: {masked['times_dense']:.2f} ×, {_pace(masked, dense)}."
    return said


def _pace(row: dict[str, Any], dense: dict[str, Any]) -> str:
    """Faster or slower only where the quartiles of the two do not overlap."""
    if row["high"] < dense["low"]:
        return "faster"
    if row["low"] > dense["high"]:
        return "slower"
    return "no difference beyond the spread of the measurements"


def sizes_html(sizes: dict[str, int]) -> str:
    if not sizes:
        return ""
    dense = sizes["dense"]
    lines = [
        ("Dense file", dense, ""),
        ("The same with zeros", dense, "a zero takes as many bytes as any weight"),
        ("Packed file (2:4)", sizes["packed"], "values and their places, read back to the bit"),
        ("Kept values and a bitmask", sizes["bitmask"], "any mask at this sparsity"),
        ("In memory, packed", sizes["memory"], "as the kernels hold it"),
        ("Masks alone", sizes["masks"], "one bit for every weight of the pruned layers"),
    ]
    body = "".join(
        f'<tr><th>{title}<small class="note">{note}</small></th>'
        f"<td>{bytes_text(size)}</td><td>{size / dense:.0%}</td></tr>"
        for title, size, note in lines
    )
    return (
        '<h2>Is it smaller?</h2><div class="scroll" tabindex="0"><table class="results" id="size-table"><thead><tr>'
        "<th>Weights</th><th>Bytes</th><th>Of dense</th></tr></thead>"
        f"<tbody>{body}</tbody></table></div><p class='hint'>Of the whole model pruned 2:4; embeddings and norms stay "
        "dense in every form. A file's header adds some kilobytes.</p>"
    )


def missing_html(rows: list[dict[str, Any]]) -> str:
    reasons = sorted({(row["kernel"], row["error"]) for row in rows if row["error"]})
    if not reasons:
        return ""
    items = "".join(f"<li>{escape(kernel)}: {escape(reason)}</li>" for kernel, reason in reasons)
    return f"<details class='hint'><summary>Not measured, and why</summary><ul>{items}</ul></details>"


def rates_html(rows: list[dict[str, Any]], protocol: dict[str, Any]) -> str:
    """What each product reaches of what the machine can do; empty for what was recorded without it."""
    if "peaks" not in protocol:
        return ""
    read, multiplied = (protocol["peaks"][f"giga{what}_per_second"] for what in ("bytes", "flops"))
    body = "".join(
        f"<tr><th>{row['shape']}, {row['tokens']} token{'s' * (row['tokens'] > 1)}</th>"
        f"<td>{escape(kernel_name(row['kernel']))}</td>"
        f"<td>{row['gigabytes_per_second']:.3g}</td><td>{row['gigabytes_per_second'] / read:.0%}</td>"
        f"<td>{row['gigaflops_per_second']:.3g}</td><td>{row['gigaflops_per_second'] / multiplied:.0%}</td></tr>"
        for row in rows
        if row["part"] == "layer" and row["error"] is None
    )
    return (
        "<details><summary>What is left of this machine: at most "
        f"{read:.3g} GB/s read and {multiplied:.3g} GFLOP/s multiplied</summary>"
        '<div class="scroll" tabindex="0"><table class="results" id="speed-rates"><thead><tr><th>Product</th>'
        "<th>Kernel</th><th>GB/s</th><th>Of the most</th><th>GFLOP/s</th><th>Of the most</th></tr></thead>"
        f"<tbody>{body}</tbody></table></div><p class='hint'>The most is the sum of an array of 256 MB and torch's "
        "product of square matrices, in this run. One token is limited by reading, many by multiplying. Above 100%: "
        "weights from a cache, or 2:4, which leaves out half of the multiplications counted here.</p></details>"
    )


PUBLISHED = (
    (
        "one product of cuSPARSELt itself, 8192 x 8192, 8192 tokens",
        "1.20 to 1.22",
        "NVIDIA/CUDALibrarySamples issue 203",
    ),
    (
        "through torch, 3072 x 10240, 3072 tokens",
        "0.41, and 1.15 once its plans are kept",
        "pytorch/pytorch issue 177866",
    ),
    ("through torch, 4096 x 4096, 1 token", "0.11", "pytorch/pytorch issue 111339"),
    ("Llama-2-7B writing on an RTX 4090", "0.88", "pytorch/tutorials issue 3505"),
)
"""What others measured of 2:4 on GPUs, as times dense, and where they say so."""


def published_html(rows: list[dict[str, Any]]) -> str:
    """What others measured, beside what a GPU showed here; empty where nothing was measured on one."""
    if not any(row["kernel"].startswith("2:4 cu") for row in rows):
        return ""
    body = "".join(
        f"<tr><th>{escape(what)}</th><td>{escape(times)}</td><td>{escape(source)}</td></tr>"
        for what, times, source in PUBLISHED
    )
    return (
        '<h2>What others measured of 2:4 on GPUs</h2><div class="scroll" tabindex="0"><table class="results">'
        f"<thead><tr><th>What</th><th>× dense</th><th>Source</th></tr></thead><tbody>{body}</tbody></table></div>"
        "<p class='hint'>Published, not measured here.</p>"
    )


def protocol_html(protocol: dict[str, Any], recorded: bool) -> str:
    where = "Recorded" if recorded else "Measured"
    left = f" Left dense: {escape(protocol['left_dense'])}." if "left_dense" in protocol else ""
    return (
        f'<div class="protocol"><p>{where} in interleaved rounds after a warm-up; medians, whiskers at the quartiles. '
        f"Whole model: a prompt of {protocol.get('prompt', 128)} random tokens, then {protocol.get('new', 24)} tokens "
        f"one after the other; pruned 2:4 by "
        f"{escape(name(protocol['method']))}, which does not matter for the speed; the 50% by magnitude.{left} "
        f"{escape(protocol['device'])}, {protocol['dtype']}, {threads(protocol['threads'])}, "
        f"torch {escape(protocol['torch'])}, transformers {escape(protocol['transformers'])}. "
        f"CUDA: {escape(protocol['cuda'])}.</p></div>"
    )
