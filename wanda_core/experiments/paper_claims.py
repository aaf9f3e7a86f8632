"""What the paper claims, and whether it holds on a model at hand: published figures beside measured ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from wanda_core.experiments.points import DENSE, Calibration, Point
from wanda_core.experiments.rows import Row
from wanda_core.method.recipe import Recipe

WANDA = "Sun et al., arXiv 2306.11695, from the authors' repository; LLaMA-2-7B at length 4096"


OWL = "Yin et al., arXiv 2310.05175; LLaMA-7B"


MEMORY = "Sun et al., quoted from memory, not confirmed; LLaMA-7B"


NEAR = 1.05
"""Up to this ratio two perplexities count as alike."""


BROKEN = 10.0
"""From this many times the dense perplexity on a model counts as broken."""

Figures = Mapping[str, float]
"""Perplexities by the names of `NEEDED`, and pruning seconds as `NAME seconds`."""


@dataclass(frozen=True)
class Claim:
    """One claim, what was published for it, and how it is judged."""

    says: str
    published: str
    source: str
    needs: tuple[str, ...]
    """Names in `NEEDED`."""
    rule: str
    """When it holds here, in words."""
    holds: Callable[[Figures], bool]
    of: str = ""
    """` seconds`: it is about the time to prune; else about perplexity."""


@dataclass(frozen=True)
class Needed:
    """A point that claims need."""

    recipe: Recipe | None
    """None: the dense model."""
    samples: int | None = None
    """Calibration windows; None: those of all points."""


NEEDED: dict[str, Needed] = {
    "dense": Needed(None),
    "magnitude 50%": Needed(Recipe(method="magnitude", sparsity=0.5)),
    "wanda 50%": Needed(Recipe(method="wanda", sparsity=0.5)),
    "sparsegpt 50%": Needed(Recipe(method="sparsegpt", sparsity=0.5)),
    "wanda 50%, whole layer": Needed(Recipe(method="wanda", sparsity=0.5, group="layer")),
    "magnitude 50%, rows": Needed(Recipe(method="magnitude", sparsity=0.5, group="output")),
    "wanda 50%, 1 window": Needed(Recipe(method="wanda", sparsity=0.5), samples=1),
    "wanda 4:8": Needed(Recipe(method="wanda", pattern="4:8")),
    "wanda 2:4": Needed(Recipe(method="wanda", pattern="2:4")),
    "wanda 60%": Needed(Recipe(method="wanda", sparsity=0.6)),
    "wanda 70%": Needed(Recipe(method="wanda", sparsity=0.7)),
    "wanda 80%": Needed(Recipe(method="wanda", sparsity=0.8)),
}
"""By the names that claims call them by."""

CLAIMS = (
    Claim(
        "Wanda is far better than magnitude",
        "50%: magnitude 14.89, Wanda 6.42 (dense 5.12)",
        WANDA,
        ("dense", "magnitude 50%", "wanda 50%"),
        "Wanda's perplexity is lower",
        lambda f: f["wanda 50%"] < f["magnitude 50%"],
    ),
    Claim(
        "Wanda is as good as SparseGPT, without changing weights",
        "50%: SparseGPT 6.51, Wanda 6.42",
        WANDA,
        ("sparsegpt 50%", "wanda 50%"),
        "Wanda's perplexity is at most 5% above SparseGPT's",
        lambda f: f["wanda 50%"] <= NEAR * f["sparsegpt 50%"],
    ),
    Claim(
        "It takes a fraction of SparseGPT's time",
        "computing the metric: SparseGPT 203.1 s, Wanda 0.54 s",
        MEMORY,
        ("sparsegpt 50%", "wanda 50%"),
        "Wanda's whole pruning, forward included, takes less time",
        lambda f: f["wanda 50% seconds"] < f["sparsegpt 50% seconds"],
        of=" seconds",
    ),
    Claim(
        "Weights should compete within an output row",
        "50%, whole layer against rows: magnitude 17.29, 13.41; Wanda 7.95, 7.26",
        MEMORY,
        ("magnitude 50%", "magnitude 50%, rows", "wanda 50%, whole layer", "wanda 50%"),
        "rows give the lower perplexity, for magnitude and for Wanda",
        lambda f: (
            f["magnitude 50%, rows"] < f["magnitude 50%"] and f["wanda 50%"] < f["wanda 50%, whole layer"]
        ),
    ),
    Claim(
        "A single calibration window is nearly enough",
        "robust down to 1 sequence, 128 usual",
        MEMORY,
        ("wanda 50%, 1 window", "wanda 50%"),
        "with 1 window the perplexity is at most 5% above that with all",
        lambda f: f["wanda 50%, 1 window"] <= NEAR * f["wanda 50%"],
    ),
    Claim(
        "N:M patterns cost more, 2:4 the most",
        "Wanda: 50% 6.42, 4:8 7.97, 2:4 11.02",
        WANDA,
        ("wanda 50%", "wanda 4:8", "wanda 2:4"),
        "perplexity rises from unstructured over 4:8 to 2:4",
        lambda f: f["wanda 50%"] < f["wanda 4:8"] < f["wanda 2:4"],
    ),
    Claim(
        "Past 70% it breaks down",
        "Wanda: 60% 10.69, 70% 85.77",
        OWL,
        ("dense", "wanda 60%", "wanda 70%", "wanda 80%"),
        "at 80% the perplexity is over 10 times the dense one",
        lambda f: f["wanda 80%"] > BROKEN * f["dense"],
    ),
)


def points(calibration: Calibration) -> list[Point]:
    """What has to be measured, the dense model first."""
    return [
        DENSE,
        *(
            Point(needed.recipe, replace(calibration, samples=needed.samples or calibration.samples))
            for needed in NEEDED.values()
            if needed.recipe
        ),
    ]


@dataclass(frozen=True)
class Judged:
    """A claim beside what was measured."""

    claim: Claim
    figures: Figures
    holds: bool | None
    """None: a point that it needs was not measured, or failed."""


def judge(rows: Iterable[Row], samples: int) -> list[Judged]:
    """Every claim, from the rows of `points` among any others.

    Args:
        samples: calibration windows of all points but the one with a single window.
    """
    found: dict[str, float] = {}
    for row in rows:
        if row["perplexity"] is None:
            continue
        for name, needed in NEEDED.items():
            if _is(row, needed.recipe, needed.samples or samples):
                found.setdefault(name, row["perplexity"])
                found.setdefault(f"{name} seconds", row["prune_seconds"] or 0.0)
    judged = []
    for claim in CLAIMS:
        known = {name + claim.of: found[name + claim.of] for name in claim.needs if name in found}
        whole = len(known) == len(claim.needs)
        judged.append(Judged(claim, known, claim.holds(found) if whole else None))
    return judged


def _is(row: Row, recipe: Recipe | None, samples: int) -> bool:
    if recipe is None:
        return row["method"] == "dense"
    named = ("method", "sparsity", "pattern", "group", "allocation")
    return all(row[key] == getattr(recipe, key) for key in named) and row["samples"] == samples
