"""Scores, masks and SparseGPT once more: NumPy, float64, one weight at a time, straight from the formulas."""

from __future__ import annotations

import math

import numpy as np

Array = np.ndarray


def score(method: str, weight: Array, inputs: Array) -> Array:
    """Importance of every weight of (out, in), given the layer's inputs (tokens, in)."""
    rows, columns = weight.shape
    size = np.abs(weight.astype(np.float64))
    norms = [math.sqrt(math.fsum(x * x for x in inputs[:, j].astype(np.float64))) for j in range(columns)]
    result = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            if method == "magnitude":
                result[i, j] = size[i, j]
            elif method == "wanda":
                result[i, j] = size[i, j] * norms[j]
            elif method == "ria" and size[i, j] > 0:
                of_column = size[i, j] / math.fsum(size[:, j])
                of_row = size[i, j] / math.fsum(size[i, :])
                result[i, j] = (of_column + of_row) * norms[j] ** 0.5
    return result


def groups(shape: tuple[int, int], pattern: str, group: str | None) -> list[list[tuple[int, int]]]:
    """The weights that compete, in the order in which equal ones go."""
    rows, columns = shape
    if pattern != "unstructured":
        among = int(pattern.split(":")[1])
        return [
            [(i, j) for j in range(start, start + among)]
            for i in range(rows)
            for start in range(0, columns, among)
        ]
    if group == "output":
        return [[(i, j) for j in range(columns)] for i in range(rows)]
    if group == "input":
        return [[(i, j) for i in range(rows)] for j in range(columns)]
    return [[(i, j) for i in range(rows) for j in range(columns)]]


def mask(scores: Array, sparsity: float, pattern: str, group: str | None) -> Array:
    """True where kept: in each group the lowest go, the earlier of equals first."""
    kept = np.ones(scores.shape, dtype=bool)
    for members in groups(scores.shape, pattern, group):
        if pattern == "unstructured":
            going = math.floor(len(members) * sparsity)
        else:
            keep, among = map(int, pattern.split(":"))
            going = among - keep
        for place in sorted(members, key=lambda at: scores[at])[:going]:
            kept[place] = False
    return kept


def sparsegpt(
    weight: Array, inputs: Array, sparsity: float, pattern: str, block: int = 128
) -> tuple[Array, Array]:
    """SparseGPT by its defining recursion: after each column it is taken out of the inverse Hessian by one step of
    Gaussian elimination (Frantar and Alistarh, equation 4), without any Cholesky factor.

    Returns:
        The new weight and the mask, (out, in).
    """
    weight = weight.astype(np.float64).copy()
    rows, columns = weight.shape
    hessian = inputs.astype(np.float64).T @ inputs.astype(np.float64)
    for j in range(columns):
        if hessian[j, j] == 0:
            hessian[j, j] = 1
            weight[:, j] = 0
    hessian += 0.01 * np.mean(np.diag(hessian)) * np.eye(columns)
    # The inverse of the Hessian of the columns that are left when column j has its turn.
    inverse, inverses = np.linalg.inv(hessian), []
    for j in range(columns):
        inverses.append(inverse.copy())
        inverse = inverse - np.outer(inverse[:, j], inverse[j, :]) / inverse[j, j]
    kept = np.ones((rows, columns), dtype=bool)
    for j in range(columns):
        if pattern == "unstructured" and j % block == 0:
            choose(weight, inverses, kept, j, min(j + block, columns), sparsity)
        elif pattern != "unstructured":
            keep, among = map(int, pattern.split(":"))
            if j % among == 0:
                for i in range(rows):
                    choose(
                        weight[i : i + 1],
                        inverses,
                        kept[i : i + 1],
                        j,
                        j + among,
                        (among - keep + 1e-9) / among,
                    )
        for i in range(rows):
            if not kept[i, j]:
                error = weight[i, j] / inverses[j][j, j]
                weight[i, j + 1 :] -= error * inverses[j][j, j + 1 :]
                weight[i, j] = 0
    return weight, kept


def choose(weight: Array, inverses: list[Array], kept: Array, start: int, stop: int, sparsity: float) -> None:
    """Of the columns from start to stop, all rows together, those go whose loss `w^2 / inverse_jj` is lowest."""
    places = [(i, j) for i in range(len(weight)) for j in range(start, stop)]
    losses = {(i, j): weight[i, j] ** 2 / inverses[j][j, j] for i, j in places}
    for place in sorted(places, key=losses.__getitem__)[: math.floor(len(places) * sparsity)]:
        kept[place] = False
