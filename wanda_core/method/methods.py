"""The named methods: a score, the group its weights compete in, and what happens to the weights that stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wanda_core.errors import Refused
from wanda_core.method.scores import SCORES

GROUPS = ("output", "layer", "input")


ADMM = "+admm"


@dataclass(frozen=True)
class Method:
    """One way to prune a layer."""

    name: str
    score: str | None
    """A name in `SCORES`; None: SparseGPT, which chooses while it corrects."""
    group: str
    """The comparison group used unless the recipe names another."""
    groups: tuple[str, ...] = GROUPS
    """The comparison groups it can work with."""
    update: str = "none"
    """What happens to the kept weights: `none`, `admm` or `sparsegpt`."""

    @property
    def needs_inputs(self) -> bool:
        """Whether the result depends on the calibration text."""
        return self.needs_gram or SCORES[self.score].needs_norms

    @property
    def needs_gram(self) -> bool:
        """Whether it needs the Gram matrix of a layer's input, not only its column norms."""
        return self.update != "none"


class _Methods(Mapping[str, Method]):
    """Every score is a method; beside them the ones that change the weights they keep."""

    def __getitem__(self, name: str) -> Method:
        if name == "sparsegpt":
            # As published: 128 columns at a time, the weights of all rows compete.
            return Method(name, score=None, group="layer", groups=("layer",), update="sparsegpt")
        score = name.removesuffix(ADMM)
        update = "admm" if name.endswith(ADMM) else "none"
        return Method(name, score=score, group=SCORES[score].group, update=update)

    def __iter__(self) -> Iterator[str]:
        return iter([*SCORES, "sparsegpt", *(score + ADMM for score in SCORES)])

    def __len__(self) -> int:
        return 2 * len(SCORES) + 1


METHODS: Mapping[str, Method] = _Methods()
"""By name; follows `SCORES`."""


def method_named(name: str) -> Method:
    """The method of that name.

    Raises:
        Refused: no such method; the message lists those there are.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise Refused(f"no method `{str(name)[:40]}`: choose from {', '.join(METHODS)}")
    return METHODS[name]
