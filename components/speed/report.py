"""What Speed says in words and tables."""

from __future__ import annotations

from html import escape
from typing import Any

from components.display.names import name
from components.display.number_format import threads


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
    """One plain sentence on what 2:4 gains when the model writes."""
    packed = next((row for row in rows if row["part"] == "decode" and row["kernel"] == "2:4"), None)
    if packed is None:
        return "The layers are measured; the whole model comes next."
    ratio, bound = packed["times_dense"], packed["bound"]
    pace = "faster" if ratio > 1.03 else "slower" if ratio < 0.97 else "no faster"
    return (
        f"Pruned 2:4 and packed, the model writes <b>{packed['tokens_per_second']:.3g} tokens per second, "
        f"{ratio:.2f} times</b> the dense model's: <b>{pace}</b>. Fewer bytes alone would give {bound:.2f} times. "
        "With zeros stored as zeros nothing is gained: they are read and multiplied like any other weight."
    )


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
        '<h3>Is it smaller?</h3><div class="scroll" tabindex="0"><table class="results" id="size-table"><thead><tr>'
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


def protocol_html(protocol: dict[str, Any], recorded: bool) -> str:
    where = "Recorded" if recorded else "Measured"
    left = f" Left dense: {escape(protocol['left_dense'])}." if "left_dense" in protocol else ""
    return (
        f'<div class="protocol"><p>{where} in interleaved rounds after a warm-up; medians, whiskers at the quartiles. '
        f"Whole model: a prompt of 128 random tokens, then 24 tokens one after the other; pruned 2:4 by "
        f"{escape(name(protocol['method']))}, which does not matter for the speed; the 50% by magnitude.{left} "
        f"{escape(protocol['device'])}, {protocol['dtype']}, {threads(protocol['threads'])}, "
        f"torch {escape(protocol['torch'])}, transformers {escape(protocol['transformers'])}. "
        f"CUDA: {escape(protocol['cuda'])}.</p></div>"
    )


def bytes_text(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
