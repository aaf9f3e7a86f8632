"""A model is one thread's at a time while it computes with other weights than its own."""

from __future__ import annotations

import os
import threading

import pytest
import torch
from torch import Tensor

from tests.support.models import tiny
from wanda_core import PrunableModel, Recipe, Stopped, find_prunable_layers
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning


def test_whoever_prunes_waits_for_whoever_computes_with_pruned_weights(
    llama: PrunableModel, tokens: Tensor
) -> None:
    alone = prune(llama, tokens, Recipe())
    found: list[Pruning] = []
    other = threading.Thread(target=lambda: found.append(prune(llama, tokens, Recipe())))
    with prune(llama, tokens, Recipe(method="random", sparsity=0.9)).applied(llama):
        other.start()
        other.join(timeout=0.5)
        assert not found
        assert other.is_alive()
    other.join(timeout=60)
    assert {name: mask.bits.tobytes() for name, mask in found[0].masks.items()} == {
        name: mask.bits.tobytes() for name, mask in alone.masks.items()
    }


def test_waiting_can_be_stopped(llama: PrunableModel, tokens: Tensor) -> None:
    stop = threading.Event()
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            prune(llama, tokens, Recipe(), stop=stop)
        except Stopped as error:
            raised.append(error)

    with llama.alone():
        other = threading.Thread(target=wait)
        other.start()
        stop.set()
        other.join(timeout=30)
        assert len(raised) == 1


def test_the_same_thread_may_go_further_in(llama: PrunableModel, tokens: Tensor) -> None:
    with llama.alone(), prune(llama, tokens, Recipe()).applied(llama):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_process_does_not_wait_for_threads_it_does_not_have() -> None:
    prunable = find_prunable_layers(tiny("llama"))
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with prunable.alone():
            taken.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    child = os.fork()
    if not child:
        os._exit(0 if prunable.exclusive.acquire(timeout=5) else 1)
    _, status = os.waitpid(child, 0)
    release.set()
    holder.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_what_fails_inside_leaves_the_dense_weights_and_the_lock(llama: PrunableModel) -> None:
    layer = llama.layers[0]
    with (
        pytest.raises(ZeroDivisionError),
        llama.computing_with([(layer, lambda: torch.zeros_like(layer.weight))]),
    ):
        raise ZeroDivisionError
    assert torch.equal(layer.module.weight, layer.stored)
    other = threading.Thread(target=lambda: llama.exclusive.acquire(timeout=5))
    other.start()
    other.join(timeout=10)
    assert not other.is_alive()
