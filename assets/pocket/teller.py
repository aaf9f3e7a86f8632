"""Who, what and where: the teller chooses the words of one story and remembers them."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import log2
from pathlib import Path

from templates import parse, plural, sections

PRONOUNS = {"f": ("she", "her", "her"), "m": ("he", "him", "his")}
PAIRS = {"boots", "mittens", "spectacles", "slippers", "skates"}
COLD = {"snow", "frost"}
COLD_SIGHTS = (
    "everything was white and still",
    "icicles were hanging in a row",
    "small footprints led this way and that",
    "a robin was looking for crumbs",
)
WORDS = {
    name: body.split() if kind else body.splitlines()
    for (_, name, *kind), body in sections(Path(__file__).with_name("words.txt"))
}


@dataclass
class Teller:
    """Tells one story: makes the choices, counts their bits and remembers the words.

    Args:
        rng: where the choices come from.
        rules: templates that are the same in all stories.
        wants: what the plot asks of a slot's words, such as `{"o": {"toy"}}`.
    """

    rng: random.Random
    rules: dict[str, str]
    wants: dict[str, set[str]] = field(default_factory=dict)
    bits: float = 0.0
    slots: dict[str, str] = field(default_factory=dict)

    def pick(self, options: Sequence) -> object:
        """One of the options, all equally likely. `random()` alone gives the same row in every Python."""
        self.bits += log2(len(options))
        return options[int(self.rng.random() * len(options))]

    def entry(self, table: Sequence[str], want: str = "", besides: str = "") -> list[str]:
        """The fields of one entry of a table: one that has what the plot wants, and not named `besides`."""
        rows = [row.split(" / ") for row in table]
        rows = [row for row in rows if row[0] != besides]
        if asked := self.wants.get(want):
            rows = [row for row in rows if asked & {*row[0].split(), *row[-1].split()}]
        return self.pick(rows)

    def expand(self, template: str) -> str:
        """Fill a template."""
        return self._walk(parse(template))

    def _walk(self, parts: Iterable[str | tuple]) -> str:
        done = []
        for part in parts:
            if isinstance(part, str):
                done.append(part)
            elif part[0] == "choice":
                done.append(self._walk(self.pick(part[1])))
            else:
                done.append(self._slot(part[1]))
        return "".join(done)

    def _slot(self, key: str) -> str:
        if key in self.rules:
            return self.expand(self.rules[key])
        if key not in self.slots:
            fill = FILLERS.get(key) or FILLERS[key.split(".")[0].rstrip("123")]
            fill(self)
        return self.expand(self.slots[key])

    def put(self, name: str, /, **values: str) -> None:
        """Keep words: `put("h", name="Tom")` fills `{h.name}`, and `said` is what `{h}` itself says."""
        for key, value in values.items():
            self.slots[name if key == "said" else f"{name}.{key}"] = value

    def person(self, slot: str, name: str, sex: str, **more: str) -> None:
        """Keep a person: name, pronouns, and whatever else is known."""
        he, him, his = PRONOUNS[sex]
        self.put(slot, name=name, he=he, him=him, his=his, **more)

    def someone(self, slot: str, other: str = "") -> None:
        """A child or an animal; never of the kind or with the name of the other one."""
        known = {self.slots[f"{other}.kind"], self.slots[f"{other}.name"]} if other else set()
        sex = self.pick("fm")
        kind, home = ("girl" if sex == "f" else "boy"), ""
        if self.pick((True, False, False)) and kind not in known:
            home = self.pick(WORDS["houses"])
        else:
            rows = [row.split(" / ") for row in WORDS["animals"]]
            kind, home = self.pick([row for row in rows if row[0] not in known])
        name = self.pick([n for n in (WORDS["girls"] if sex == "f" else WORDS["boys"]) if n not in known])
        traits = [trait for trait in WORDS["traits"] if not other or trait != self.slots[f"{other}.trait"]]
        trait = self.pick(traits)
        said = f"[{name}|{name}|the {kind}]"
        self.person(slot, name, sex, kind=kind, home=home, trait=trait, a=f"a~ {trait} {kind}", said=said)

    def garment(self) -> None:
        """What the hero wears; not every story tells."""
        self.put("h", garment=self.pick(WORDS["colours"]) + " " + self.pick(WORDS["garments"]))

    def friend(self) -> None:
        """The friend, once the hero is known."""
        self.expand("{h.name}")
        self.someone("f", other="h")
        feature = " with " + self.pick(WORDS["features"]) if self.pick((True, False)) else ""
        self.put("f", new=f"{self.slots['f.a']} named {self.slots['f.name']}{feature}")

    def elder(self) -> None:
        """Someone older, seen from the hero."""
        who, sex = self.entry(WORDS["elders"])
        who = self.expand(who.replace("his ", "{h.his} "))
        self.person("e", who, sex, said=who)

    def thing(self, slot: str, other: str = "") -> None:
        """A thing and the verbs that agree with its number."""
        besides = self.expand(f"{{{other}}}") if other else ""
        noun, number, use, used, using, _ = self.entry(WORDS["things"], want=slot, besides=besides)
        colour = self.pick(WORDS["colours"])
        one = number == "one"
        article = "a~" if one else "a pair of" if noun in PAIRS else "some"
        look = self.pick(WORDS["looks"]) + " " if self.pick((True, False)) else ""
        full = f"{look}{colour} {noun}"
        self.put(slot, said=noun, a=f"{article} {full}", my=f"my {full}", full=f"{colour} {noun}")
        self.put(slot, the=f"[the {look}{noun}|the {colour} {noun}|the {noun}]", colour=colour)
        self.put(slot, use=use, used=used, using=using)
        self.agree(slot, one)

    def agree(self, slot: str, one: bool) -> None:
        """Pronouns and verbs for one thing or many."""
        self.put(slot, it="it" if one else "they", them="it" if one else "them", was="was" if one else "were")
        self.put(slot, s="s" if one else "", this="this" if one else "these")
        self.put(slot, **{"is": "is" if one else "are"}, does="does" if one else "do")

    def place(self, slot: str, other: str = "") -> None:
        """A place, what is to be seen there, and three spots to look at."""
        besides = self.expand(f"{{{other}.in}}") if other else ""
        inside, to, the, sights, spots = self.entry(WORDS["places"], want=slot, besides=besides)
        cold = self.slots.get("weather") in COLD
        self.put(slot, **{"in": inside}, to=to, said=the)
        self.put(slot, sight="[" + "|".join(COLD_SIGHTS if cold else sights.split("; ")) + "]")
        left = spots.split("; ")
        for number in "123":
            self.put(f"{slot}.spot{number}", said=self.pick(left))
            left.remove(self.slots[f"{slot}.spot{number}"])

    def weather(self) -> None:
        """The weather at the beginning, later and at the end."""
        name, first, later, end = self.entry(WORDS["weathers"], want="weather")
        self.put("weather", said=name, first="[" + first.replace("; ", "|") + "]", later=later, end=end)

    def food(self) -> None:
        """Something to eat."""
        some, noun, number = self.entry(WORDS["foods"])
        self.put("d", said=noun, some=some)
        self.agree("d", number == "one")

    def number(self) -> None:
        """A number of fruits, and that number less one and less two."""
        count = self.pick((3, 4, 5, 6))
        fruit = self.pick(WORDS["fruits"])
        numbers = WORDS["numbers"]
        self.put("n", said=numbers[count - 1], less=numbers[count - 2], least=numbers[count - 3])
        self.put("n", fruit=fruit, fruits=plural(fruit), many="" if count == 3 else "s")
        self.agree("n", count == 3)

    def days(self) -> None:
        """Three days in a row."""
        first = self.pick(range(7))
        for step in range(3):
            self.put(f"day{step + 1}", said=WORDS["days"][(first + step) % 7])

    def table(self, slot: str, rows: Sequence[str], *fields: str) -> None:
        """An entry of a plain table; its fields are named in turn."""
        self.put(slot, **dict(zip(fields, self.entry(rows), strict=True)))


# what fills a slot: by its whole name, or by the part before the dot and without its number
FILLERS: dict[str, Callable[[Teller], None]] = {
    "h": lambda teller: teller.someone("h"),
    "h.garment": Teller.garment,
    "f": Teller.friend,
    "e": Teller.elder,
    "o": lambda teller: teller.thing("o"),
    "p": lambda teller: teller.thing("p", other="o"),
    "w": lambda teller: teller.place("w"),
    "v": lambda teller: teller.place("v", other="w"),
    "d": Teller.food,
    "n": Teller.number,
    "day": Teller.days,
    "weather": Teller.weather,
    "c": lambda teller: teller.table("c", WORDS["crafts"], "a", "said", "make", "made", "of", "bad1", "bad2"),
    "x": lambda teller: teller.table("x", WORDS["fears"], "said", "where", "why", "truth"),
    "y": lambda teller: teller.table("y", WORDS["young"], "said", "mother", "cried"),
    "g": lambda teller: teller.table("g", WORDS["plants"], "said", "grown"),
    "k": lambda teller: teller.table("k", WORDS["skills"], "do", "did"),
}
