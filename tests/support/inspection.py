"""A layer, decided by two methods, and the masks that the formulas give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.support import oracle
from wanda_core import Recipe
from wanda_core.inspection.layer import OpenLayer, choose_mask, score_layer
from wanda_core.inspection.thresholds import Side

SETTINGS = [
    {"sparsity": 0.5},
    {"sparsity": 0.5, "group": "output"},
    {"sparsity": 0.3, "group": "layer"},
    {"sparsity": 0.6, "group": "input"},
    {"pattern": "2:4"},
    {"sparsity": 0.0},
    {"sparsity": 1.0},
]


def random_layer(rows: int = 40, columns: int = 64) -> OpenLayer:
    draw = torch.Generator().manual_seed(0)
    norms = torch.rand(columns, generator=draw) + 0.1
    norms[3] = 30
    return OpenLayer.of("layer", torch.randn(rows, columns, generator=draw), norms)


def decided(layer: OpenLayer, settings: dict[str, Any], methods: tuple = ("magnitude", "wanda")) -> tuple:
    recipes = [Recipe(method=method, **settings) for method in methods]
    scored = [score_layer(layer, recipe.method, 0) for recipe in recipes]
    masks = [choose_mask(layer, *each) for each in zip(scored, recipes, strict=True)]
    return tuple(Side(r, s, m) for r, s, m in zip(recipes, scored, masks, strict=True))


def expected_masks(layer: OpenLayer, sides: tuple) -> list[np.ndarray]:
    """By the formulas, float64, one weight at a time."""
    inputs = np.diag(layer.norms.numpy())  # as tokens they have those norms
    return [
        oracle.mask(
            oracle.score(side.recipe.method, layer.weight.numpy(), inputs),
            side.recipe.sparsity,
            side.recipe.pattern,
            side.recipe.group,
        )
        for side in sides
    ]
