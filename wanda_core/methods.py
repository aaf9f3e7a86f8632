"""The named methods: a score, the group its weights compete in, and what happens to the weights that stay."""

from __future__ import annotations

from dataclasses import dataclass

from wanda_core.errors import Refused
from wanda_core.scores import SCORES

GROUPS = ("output", "layer", "input")


@dataclass(frozen=True)
class Method:
    """One way to prune a layer."""

    name: str
    score: str
    """A name in `SCORES`."""
    group: str
    """The comparison group used unless the recipe names another."""

    @property
    def needs_inputs(self) -> bool:
        """Whether the masks depend on the calibration text."""
        return SCORES[self.score].needs_norms


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("magnitude", score="magnitude", group="layer"),
        Method("wanda", score="wanda", group="output"),
        Method("random", score="random", group="output"),
    )
}


def method_named(name: str) -> Method:
    """The method of that name.

    Raises:
        Refused: no such method; the message lists those there are.
    """
    if name not in METHODS:
        raise Refused(f"no method `{str(name)[:40]}`: choose from {', '.join(METHODS)}")
    return METHODS[name]
