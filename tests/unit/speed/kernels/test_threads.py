"""Work in parts: all of it, once, whatever the helpers do."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from wanda_core.speed.kernels import threads
from wanda_core.speed.kernels.threads import in_parts


@pytest.fixture(autouse=True)
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("count", "most", "parts"),
    [(100, 4, 16), (100, 9, 16), (100, 2, 8), (10, 4, 4), (10, 1, 1), (3, 4, 3), (0, 4, 1)],
)
def test_parts_cover_all(count: int, most: int, parts: int) -> None:
    seen: list[tuple[int, int]] = []
    in_parts(lambda first, last: seen.append((first, last)), count, most)
    assert len(seen) == parts
    assert sorted(place for first, last in seen for place in range(first, last)) == list(range(count))


def test_what_no_helper_begins_the_caller_does() -> None:
    done = threading.Event()
    helpers = os.cpu_count() or 1
    started = threading.Barrier(helpers + 1)

    def occupy() -> None:
        started.wait()
        done.wait()

    for _ in range(helpers):
        threads._pool.submit(occupy)
    started.wait()
    by: list[int] = []
    in_parts(lambda *_: by.append(threading.get_ident()), 4, 4)
    done.set()
    assert by == [threading.get_ident()] * 4


@pytest.mark.parametrize("of_caller", [True, False])
def test_an_error_of_any_thread_is_raised(of_caller: bool) -> None:
    caller, both = threading.get_ident(), threading.Barrier(2, timeout=20)

    def work(first: int, last: int) -> None:
        both.wait()
        if (threading.get_ident() == caller) == of_caller:
            raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        in_parts(work, 2, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_has_helpers_of_its_own() -> None:
    in_parts(lambda *_: None, 4, 4)
    child = os.fork()
    if not child:
        by: set[int] = set()
        meet = threading.Barrier(2, timeout=20)
        try:
            in_parts(lambda *_: (meet.wait(), by.add(threading.get_ident())), 2, 2)
        finally:
            os._exit(len(by))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
