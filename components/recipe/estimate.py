"""What a run will take, before it is started: points, what is measured already, time, download and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from html import escape
from typing import Any

from components.display.names import control
from components.display.number_format import bytes_text, duration
from components.jobs.runner import ZERO_GPU, ZERO_GPU_SECONDS
from components.recipe.request import check_panel
from components.request_checks import check_source
from components.workspace import pace
from components.workspace.measured_rows import dense_in, depends_on_seed, has_measured
from components.workspace.model_facts import ModelFacts, facts_of
from wanda_core.errors import Refused


def estimate(values: Mapping[str, Any], sources: Sequence[str]) -> tuple[str, str]:
    """What the run of the panel will take, and what is known of its model, as HTML.

    Args:
        values: what the panel's controls hold, by name.
    """
    revision = values.get("revision") or None
    facts = ModelFacts(None)
    with suppress(Refused):  # which files this machine has is nobody's business
        source = check_source(values.get("source"), sources)
        facts = facts_of(source, revision if isinstance(revision, str) else None)
    note = f'<p class="hint">{model_line(facts)}</p>'
    try:
        asked = check_panel(values, sources)
    except Refused as error:
        said = error.told(control)
        return f'<p class="estimate failed" role="alert">{escape(said[:1].upper() + said[1:])}.</p>', note
    points = [
        (asked.setup.seeded(seed), recipe)
        for recipe in asked.recipes
        for seed in (asked.seeds if depends_on_seed(recipe) else asked.seeds[:1])
    ]
    missing = [(setup, recipe) for setup, recipe in points if not has_measured(setup, recipe)]
    models = [dense_in(bits) for bits in {16} | {recipe.bits for recipe in asked.recipes}]
    count = len(points) + len(models)
    dense = sum(not has_measured(asked.setup, model) for model in models)
    done = count - len(missing) - dense
    said = f"{count} points with the dense model" + (f", {done} already measured" if done else "")
    if done == count:
        said += ": shown at once"
    elif facts.weights is not None and not ZERO_GPU:
        seconds = pace.run_seconds(asked.setup, [recipe for _, recipe in missing], facts.weights, dense)
        said += f", about {duration(seconds)}"
        if facts.download_bytes:
            said += " after the download"
    elif ZERO_GPU:
        said += f"; a run may take {ZERO_GPU_SECONDS} s here: for what is then missing press Run again"
    return f'<p class="estimate">{said}</p>', note


def model_line(facts: ModelFacts) -> str:
    """`135 M weights, 0.5 GB in memory: fits.`"""
    if facts.weights is None:
        return "Size not known: the Hub did not answer."
    said = (
        f"{facts.weights / 1e6:,.0f} M weights"
        if facts.weights >= 1e7
        else f"{facts.weights / 1e6:.1f} M weights"
    )
    memory = facts.memory_bytes or 0
    size = f"{memory / 1e9:.1f} GB" if memory >= 1e8 else bytes_text(memory)
    fits = "fits" if facts.fits else "may not fit. On a CPU, wanda-lab prune --stream takes it block by block"
    said += f", {size} in memory: {fits}."
    if facts.download_bytes:
        said += f" {facts.download_bytes / 1e9:.2f} GB to download."
    return said
