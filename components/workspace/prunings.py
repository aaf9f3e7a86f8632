"""Prunings made before, so that no model is pruned twice by one recipe."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from components.cache import Shelf
from components.jobs.job import Progress, Put
from components.workspace.experiment import Subject
from wanda_core.method.recipe import Recipe

if TYPE_CHECKING:
    from wanda_core.pruning.result import Pruning

_prunings: Shelf[Pruning] = Shelf("prunings")


def keep_pruning(subject: Subject, pruning: Pruning) -> None:
    """Remember a finished pruning, for the other views and for whoever asks next."""
    _prunings.put(_unrounded(subject.key(pruning.recipe)), pruning, pruning.nbytes)


def pruning_of(
    subject: Subject, recipe: Recipe, put: Put, stop: threading.Event, before: float = 0.0, share: float = 1.0
) -> Pruning:
    """The pruning by that recipe: the one that is kept, or made now.

    Args:
        before: share of the whole job that is done when pruning begins.
        share: of the whole job that pruning is.
    """
    from wanda_core.experiments.points import describe
    from wanda_core.pruning.prune_model import prune

    pruning = kept_pruning(subject.key(recipe))
    if pruning is None:
        label = f"Pruning {describe(recipe)}"
        pruning = prune(
            subject.model.prunable,
            subject.tokens,
            recipe,
            on_progress=lambda done, where: put(Progress(f"{label}: {where}", before + share * done)),
            stop=stop,
        )
        keep_pruning(subject, pruning)
    return pruning


def prunings_of(
    subject: Subject, recipes: Sequence[Recipe], put: Put, stop: threading.Event, share: float
) -> list[Pruning]:
    """`pruning_of` for each recipe; together they are `share` of the whole job."""
    each = share / max(1, len(recipes))
    return [
        pruning_of(subject, recipe, put, stop, before=index * each, share=each)
        for index, recipe in enumerate(recipes)
    ]


def kept_pruning(key: tuple[object, ...]) -> Pruning | None:
    """The pruning of that key (see `Subject.key`), where it was made before and is still kept: the same for all numbers
    of bits."""
    found = _prunings.get(_unrounded(key))
    recipe = key[-1]
    return found and found.in_bits(recipe.bits) if isinstance(recipe, Recipe) else found


def _unrounded(key: tuple[object, ...]) -> tuple[object, ...]:
    *before, recipe = key
    return (*before, replace(recipe, bits=16) if isinstance(recipe, Recipe) else recipe)
