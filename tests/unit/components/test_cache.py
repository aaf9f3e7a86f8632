"""What is kept between requests, under one cap."""

from __future__ import annotations

from components.cache import Shelf, Store


def test_shelves_share_a_cap_and_not_their_keys() -> None:
    store = Store(cap=10, seconds=100)
    letters: Shelf[str] = Shelf("letters", store)
    numbers: Shelf[int] = Shelf("numbers", store)
    letters.put("a", "A", 4)
    numbers.put("a", 1, 4)
    assert (letters.get("a"), numbers.get("a")) == ("A", 1)
    letters.put("b", "B", 4)  # the least recently used is dropped, whose ever it is
    assert (letters.get("a"), numbers.get("a"), letters.get("b")) == (None, 1, "B")
    assert (letters.held(), numbers.held()) == (["b"], ["a"])
    letters.drop("b")
    assert letters.get("b") is None


def test_a_value_beyond_the_cap_is_not_kept_and_drops_nothing_else() -> None:
    shelf: Shelf[str] = Shelf("letters", Store(cap=10, seconds=100))
    shelf.put("a", "A", 4)
    shelf.put("huge", "H", 11)
    assert (shelf.get("a"), shelf.get("huge")) == ("A", None)


def test_what_was_not_used_for_long_is_dropped() -> None:
    now = [0.0]
    shelf: Shelf[str] = Shelf("letters", Store(cap=10, seconds=5, clock=lambda: now[0]))
    shelf.put("a", "A", 1)
    shelf.put("b", "B", 1)
    now[0] = 4
    assert shelf.get("a") == "A"
    now[0] = 6
    assert (shelf.get("a"), shelf.get("b")) == ("A", None)
