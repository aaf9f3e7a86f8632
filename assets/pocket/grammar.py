"""A grammar of short stories for children.

A story is one walk through a plot of `plots.txt`. A plot is a row of beats, a beat a few templates of which one
is taken ("-": none). In a template `[a|b]` is a choice and `{key}` a slot: a rule of `plots.txt`, the same in all
stories, or a word of this story from `words.txt` (`h` the hero, `f` the friend, `e` the elder, `o` a thing, `w` a
place ...). A word is chosen at its first use and then stays, which is how a later sentence refers back to an
earlier one. `a~` is "a" or "an"; `^` makes the next letter a capital.

    python grammar.py SEED [COUNT]     prints stories
"""

import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from teller import Teller
from templates import polish, sections

# Three ranges without a common seed.
CALIBRATION_SEEDS = range(260)
EVALUATION_SEEDS = range(100_000, 100_260)
FIRST_TRAINING_SEED = 1_000_000

# One gap between two beats in six holds a sentence that has nothing to do with the plot.
ASIDE = (True, False, False, False, False, False)


@dataclass(frozen=True)
class Plot:
    """One plot: its beats, and what it asks of the words, such as `weather=rain,storm` or `o=toy`."""

    name: str
    wants: dict[str, set[str]]
    beats: list[list[str]]


@dataclass(frozen=True)
class Story:
    """A story's text, and `bits`: the sum of -log2 of the probability of every choice made for it.

    Different choices may give the same text, so `bits` is an upper bound on -log2 of the text's probability.
    """

    text: str
    plot: str
    bits: float


@cache
def load_grammar() -> tuple[dict[str, str], list[Plot]]:
    """The rules (name -> template) and the plots of `plots.txt`."""
    rules: dict[str, str] = {}
    plots: list[Plot] = []
    for (kind, name, *wants), body in sections(Path(__file__).with_name("plots.txt")):
        if kind == "::":
            rules[name] = "[" + "|".join(body.splitlines()) + "]"
        else:
            asked = {key: set(value.split(",")) for key, value in (want.split("=") for want in wants)}
            beats = [
                ["" if line == "-" else line for line in beat.splitlines()] for beat in body.split("\n\n")
            ]
            plots.append(Plot(name, asked, beats))
    return rules, plots


def tell(seed: int) -> Story:
    """The story of a seed: always the same one."""
    rules, plots = load_grammar()
    teller = Teller(random.Random(seed), rules)
    plot = teller.pick(plots)
    teller.wants = plot.wants
    told = []
    for number, beat in enumerate(plot.beats):
        if template := teller.pick(beat):
            told.append("^" + teller.expand(template))
        if 0 < number < len(plot.beats) - 1 and teller.pick(ASIDE):
            told.append("^" + teller.expand("{aside}"))
    return Story(polish(" ".join(told)), plot.name, teller.bits)


def text_of(seeds: Iterable[int]) -> str:
    """The stories of these seeds with a blank line between them, as in `calibration.txt`."""
    return "\n\n".join(tell(seed).text for seed in seeds) + "\n"


if __name__ == "__main__":
    start = int(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(text_of(range(start, start + count)), end="")
