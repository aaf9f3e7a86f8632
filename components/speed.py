"""The Speed and export view: is it faster, is it smaller, take it away."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from components import figures_speed, follow, status
from components.job import check_panel
from components.settings import ASSETS, HOSTED
from components.speed_jobs import KINDS, Export, Exported, Latency, MeasureLatency
from components.words import name, threads
from components.worker import Worker
from wanda_core.errors import Refused

RECORDED = ASSETS / "recorded" / "latency-smollm2-135m.json"


@dataclass
class SpeedView:
    """The components of the view."""

    run: gr.Button
    stop: gr.Button
    status_line: gr.HTML
    measured: list[gr.components.Component]
    """In the order in which `update` gives their values."""
    kind: gr.Radio
    export: gr.Button
    export_stop: gr.Button
    export_status: gr.HTML
    exported: list[gr.components.Component]
    """In the order in which `update_export` gives their values."""
    download: gr.DownloadButton


def build() -> SpeedView:
    """Lay the view out, filled with the recorded measurement."""
    with gr.Row():
        run = gr.Button("Measure speed", variant="primary", min_width=120, elem_id="speed-run")
        stop = gr.Button("Stop", interactive=False, min_width=100, elem_id="speed-stop")
    status_line = gr.HTML(
        status.ready(
            "Prunes 2:4 by the first chosen method, then times the layers and the whole model, dense and packed."
        ),
        elem_id="speed-status",
    )
    summary, model, note, shapes, sizes, protocol = update(recorded(), recorded=True)
    measured = [
        gr.HTML(summary, elem_id="speed-summary"),
        gr.Plot(model, show_label=False, container=False, elem_id="speed-model"),
        gr.HTML(note),
        gr.Plot(shapes, show_label=False, container=False, elem_id="speed-shapes"),
        gr.HTML(sizes, elem_id="sizes"),
        gr.HTML(protocol, elem_id="speed-protocol"),
    ]
    gr.HTML(
        "<h3>Take it away</h3><p class='hint'>Exports the model pruned by the first chosen method, at the sparsity or "
        "pattern on the left, with recipe, masks, calibration tokens and a model card. It is read back and compared to "
        "the bit before it is offered.</p>"
    )
    kind = gr.Radio(
        [(label, key) for key, label in KINDS.items()], value="folder", label="What", elem_id="kind"
    )
    with gr.Row():
        export = gr.Button("Export", variant="primary", min_width=120, elem_id="export-run")
        export_stop = gr.Button("Stop", interactive=False, min_width=100, elem_id="export-stop")
    export_status = gr.HTML(status.ready("Nothing exported yet."), elem_id="export-status")
    contents = gr.HTML(elem_id="export-contents")
    download = gr.DownloadButton("Download", visible=False, elem_id="download")
    file = gr.State()
    if HOSTED:  # signing in exists only on a Space
        _build_push(file)
    return SpeedView(
        run,
        stop,
        status_line,
        measured,
        kind,
        export,
        export_stop,
        export_status,
        [contents, download, file],
        download,
    )


def connect(worker: Worker, view: SpeedView, panel_inputs: Sequence[Any], sources: Sequence[str]) -> None:
    """Let the buttons work.

    Args:
        panel_inputs: of the recipe panel, the source first.
        sources: models on offer beside those of the Hub.
    """

    def measure(source: object, *values: object) -> MeasureLatency:
        setup, recipes = check_panel(source, sources, *values)
        first = recipes[0]
        return MeasureLatency(setup, replace(first, sparsity=None, pattern="2:4", group=None))

    def export(kind: object, source: object, *values: object) -> Export:
        if not isinstance(kind, str) or kind not in KINDS:
            raise Refused("choose what to export from the list")
        setup, recipes = check_panel(source, sources, *values)
        return Export(setup, recipes[0], kind, view.download.GRADIO_CACHE)

    follow.on_click(
        worker,
        run=view.run,
        stop=view.stop,
        status_line=view.status_line,
        inputs=panel_inputs,
        outputs=view.measured,
        make_job=measure,
        update=update,
        api_name="latency",
    )
    follow.on_click(
        worker,
        run=view.export,
        stop=view.export_stop,
        status_line=view.export_status,
        inputs=[view.kind, *panel_inputs],
        outputs=view.exported,
        make_job=export,
        update=update_export,
        api_name="export",
    )


def recorded() -> Latency:
    """The measurement that fills the view before anything was measured here."""
    return Latency(**json.loads(RECORDED.read_text(encoding="utf-8")))


def update(outcome: Latency, recorded: bool = False) -> list[Any]:
    """Values for `SpeedView.measured`."""
    return [
        _label(outcome.protocol, recorded) + f'<p class="verdict">{_verdict(outcome.rows)}</p>',
        figures_speed.model_figure(outcome.rows),
        "<h3>Layer by layer</h3><p class='hint'>One product of each shape that the model's layers have (outputs x "
        "inputs), against torch's dense product. Our own dense kernel is built like the packed ones: what packing "
        "alone gains is the difference to it.</p>",
        figures_speed.shapes_figure(outcome.rows),
        _sizes(outcome.sizes) + _missing(outcome.rows),
        _protocol(outcome.protocol, recorded),
    ]


def update_export(outcome: Exported) -> list[Any]:
    """Values for `SpeedView.exported`."""
    rows = "".join(f"<tr><th>{escape(file)}</th><td>{_bytes(size)}</td></tr>" for file, size in outcome.holds)
    table = f'<div class="scroll" tabindex="0"><table class="results"><tbody>{rows}</tbody></table></div>'
    button = gr.DownloadButton(
        f"Download {Path(outcome.file).name} ({_bytes(outcome.bytes)})", value=outcome.file, visible=True
    )
    return [table, button, outcome.file]


def _label(protocol: dict[str, Any], recorded: bool) -> str:
    model = escape(str(protocol["source"]))
    if not recorded:
        return f'<p class="label">Measured here, now, on <b>{model}</b></p>'
    return (
        f'<p class="label recorded"><b>A recorded measurement</b> of {model}, made on {escape(protocol["date"])} on '
        f"{escape(protocol['device'])}, {threads(protocol['threads'])}. Press Measure speed to measure this "
        "machine.</p>"
    )


def _verdict(rows: list[dict[str, Any]]) -> str:
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


def _sizes(sizes: dict[str, int]) -> str:
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
        f'<tr><th>{title}<small class="note">{note}</small></th><td>{_bytes(size)}</td><td>{size / dense:.0%}</td></tr>'
        for title, size, note in lines
    )
    return (
        '<h3>Is it smaller?</h3><div class="scroll" tabindex="0"><table class="results" id="size-table"><thead><tr>'
        "<th>Weights</th><th>Bytes</th><th>Of dense</th></tr></thead>"
        f"<tbody>{body}</tbody></table></div><p class='hint'>Of the whole model pruned 2:4; embeddings and norms stay "
        "dense in every form. A file's header adds some kilobytes.</p>"
    )


def _missing(rows: list[dict[str, Any]]) -> str:
    reasons = sorted({(row["kernel"], row["error"]) for row in rows if row["error"]})
    if not reasons:
        return ""
    items = "".join(f"<li>{escape(kernel)}: {escape(reason)}</li>" for kernel, reason in reasons)
    return f"<details class='hint'><summary>Not measured, and why</summary><ul>{items}</ul></details>"


def _protocol(protocol: dict[str, Any], recorded: bool) -> str:
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


def _bytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def _build_push(file: gr.State) -> None:
    """On a Space: sign in, and upload the export under one's own name."""
    gr.LoginButton(elem_id="login")
    with gr.Row():
        repo = gr.Textbox(label="Push to the Hub as", placeholder="owner/name", elem_id="push-name")
        push = gr.Button("Push", elem_id="push")
    result = gr.HTML(status.ready("Sign in, export, then push it as a new private model."))

    def upload(exported: str | None, repo: str, token: gr.OAuthToken | None) -> str:
        from wanda_core import hub

        try:
            if token is None:
                raise Refused("sign in first")
            if not exported or not exported.endswith(".zip") or not Path(exported).is_file():
                raise Refused("export first")
            hub.check_name(repo)
            with tempfile.TemporaryDirectory() as folder:
                with zipfile.ZipFile(exported) as archive:
                    archive.extractall(folder)
                (content,) = Path(folder).iterdir()
                address = hub.push(content, repo, token.token)
        except Refused as error:
            return status.failed(str(error).replace("--push-to-hub", "Push"))
        return status.ready(f"Uploaded: {address}")

    push.click(upload, [file, repo], result, concurrency_limit=1, api_visibility="private")
