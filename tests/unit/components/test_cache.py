"""What the store keeps, and what it forgets."""

from __future__ import annotations

from components.cache import Store


def test_the_store_forgets_the_least_recently_used_beyond_its_cap() -> None:
    store: Store[str] = Store(cap=10, seconds=100)
    store.put("a", "A", 4)
    store.put("b", "B", 4)
    assert store.get("a") == "A"
    store.put("c", "C", 4)
    assert [store.get(key) for key in "abc"] == ["A", None, "C"]
    assert store.bytes == 8
    store.put("huge", "H", 11)
    assert store.get("huge") is None


def test_the_store_forgets_what_was_not_used_for_long() -> None:
    now = [0.0]
    store: Store[str] = Store(cap=10, seconds=5, clock=lambda: now[0])
    store.put("a", "A", 1)
    store.put("b", "B", 1)
    now[0] = 4
    assert store.get("a") == "A"
    now[0] = 6
    assert store.get("b") is None
    assert store.get("a") == "A"
