"""The named methods: a score, the group its weights compete in, and what happens to the kept weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wanda_core.errors import Refused
from wanda_core.method.scores import SCORES
from wanda_core.method.updates import NONE, UPDATES

GROUPS = ("output", "layer", "input")


@dataclass(frozen=True)
class Method:
    """One way to prune a layer."""

    name: str
    score: str | None
    """A name in `SCORES`; None where the update chooses while it corrects."""
    group: str
    """The comparison group used unless the recipe names another."""
    groups: tuple[str, ...] = GROUPS
    """The comparison groups it can work with."""
    update: str = NONE
    """What happens to the kept weights: `none`, or a name in `UPDATES`."""

    @property
    def needs_inputs(self) -> bool:
        """Whether the result depends on the calibration text."""
        return self.needs_gram or (self.score is not None and SCORES[self.score].needs_norms)

    @property
    def random(self) -> bool:
        """Whether the result depends on the recipe's seed."""
        return self.score is not None and SCORES[self.score].random

    @property
    def needs_gram(self) -> bool:
        """Whether it needs the Gram matrix of a layer's input, not only its column norms."""
        return self.update != NONE or (self.score is not None and SCORES[self.score].needs_gram)


def _methods() -> dict[str, Method]:
    """Every score, every update that chooses, and the updates that follow a score after each of them."""
    found = {name: Method(name, name, score.group) for name, score in SCORES.items()}
    for name, update in UPDATES.items():
        if update.chooses:
            found[name] = Method(name, None, update.group, (update.group,), name)
    for name, update in UPDATES.items():
        if update.with_scores:
            pairs = {f"{score}+{name}": score for score in SCORES}
            found |= {pair: Method(pair, s, SCORES[s].group, update=name) for pair, s in pairs.items()}
    return found


class _Methods(Mapping[str, Method]):
    """Follows `SCORES` and `UPDATES`."""

    def __getitem__(self, name: str) -> Method:
        return _methods()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_methods())

    def __len__(self) -> int:
        return len(_methods())


METHODS: Mapping[str, Method] = _Methods()
"""By name."""


def method_named(name: str) -> Method:
    """The method of that name.

    Raises:
        Refused: no such method; the message lists those there are.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise Refused(f"no method `{str(name)[:40]}`: choose from {', '.join(METHODS)}")
    return METHODS[name]
