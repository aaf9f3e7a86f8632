"""The header of every page: name, one line, the pages, and what concerns all of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import gradio as gr

from components.page.preview import LINE

PAGES = {"lab": ("Lab", "./"), "learn": ("Learn", "learn"), "runs": ("Runs", "runs")}
PLOTLY = next(Path(gr.__file__).parent.glob("templates/frontend/assets/PlotlyPlot-*.js"), None)
HEAD = (
    f"""<script>
if (!/learn\\/?$/.test(location.pathname)) document.head.append(Object.assign(document.createElement("link"),
  {{rel: "modulepreload", href: "assets/{PLOTLY.name}", fetchPriority: "low"}}));
</script>"""
    if PLOTLY
    else ""
)
"""Plotly is half of the page's bytes and otherwise asked for last, once the first chart is laid out."""

SCRIPT = """
const space = SPACE;
const copy = element.querySelector("#copy-link");
copy?.addEventListener("click", async () => {
  const here = new URL(window.location.href);
  const link = (space ? space : here.origin + here.pathname) + here.search;
  try { await navigator.clipboard.writeText(link); copy.textContent = "Copied"; }
  catch { window.prompt("Copy this link", link); }
  setTimeout(() => { copy.textContent = "Copy link"; }, 2000);
});
element.querySelector("#report")?.addEventListener("click", () => {
  document.querySelector("#make-report")?.click();
});
// Leaving for another page and coming back keeps the settings.
const lab = element.querySelector('a[data-page="lab"]');
const key = "wanda-lab-settings";
if (element.querySelector('a[aria-current]')?.dataset.page === "lab") {
  const keep = () => sessionStorage.setItem(key, window.location.search);
  element.querySelectorAll("nav a").forEach((link) => link.addEventListener("click", keep));
} else if (lab) {
  lab.href = "./" + (sessionStorage.getItem(key) ?? "");
}
"""


def build(page: str) -> None:
    """Lay it out.

    Args:
        page: the one that is open, a key of `PAGES`.
    """
    gr.Navbar(visible=False)
    links = "".join(
        f'<a href="{place}" data-page="{key}"{" aria-current=page" if key == page else ""}>{title}</a>'
        for key, (title, place) in PAGES.items()
    )
    tools = ""
    if page == "lab":
        tools = (
            '<button type="button" id="copy-link">Copy link</button>'
            '<button type="button" id="report">Report</button>'
        )
    space = os.environ.get("SPACE_ID")
    address = f"https://huggingface.co/spaces/{space}" if space else None
    gr.HTML(
        f'<header><h1><a href="./">Wanda Lab</a></h1><p>{LINE}</p>'
        f'<nav aria-label="Pages">{links}</nav>{tools}</header>',
        elem_id="header",
        js_on_load=SCRIPT.replace("SPACE", json.dumps(address)),
    )
