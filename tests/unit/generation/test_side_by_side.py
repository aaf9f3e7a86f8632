"""Texts side by side are what transformers writes with each of the models alone."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from transformers import AutoModelForCausalLM, MixtralConfig, PreTrainedModel

from tests.support.generation import alone, expected
from tests.support.models import CONFIGS, VOCABULARY, assert_untouched, byte_tokenizer, snapshot, tiny
from wanda_core import LanguageModel, Recipe, Refused, Stopped, find_prunable_layers, load
from wanda_core.generation import side_by_side as generation
from wanda_core.generation.sampling import Sampling
from wanda_core.generation.side_by_side import encode_prompt, generate_side_by_side
from wanda_core.generation.writing import Writing, departure, repetition
from wanda_core.pruning.prune_model import prune
from wanda_core.pruning.result import Pruning

GREEDY = Sampling(new_tokens=24)


DRAWN = Sampling(new_tokens=24, temperature=0.8, top_p=0.9, seed=5)


CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant] "


def tiny_model(family: str) -> LanguageModel:
    """A model whose next token depends on its blocks: as initialised, they hardly matter."""
    return with_loud_blocks(family, tiny(family))


def with_loud_blocks(name: str, network: PreTrainedModel) -> LanguageModel:
    prunable = find_prunable_layers(network)
    for layer in prunable.layers:
        layer.stored.mul_(10)
    if not network.config.tie_word_embeddings:
        network.get_output_embeddings().weight.mul_(30)
    return LanguageModel(name, None, name, network, byte_tokenizer(), prunable)


def pruned(model: LanguageModel, *methods: str, sparsity: float = 0.5) -> list[Pruning]:
    tokens = torch.randint(200, (4, 24), generator=torch.Generator().manual_seed(1))
    return [prune(model.prunable, tokens, Recipe(method=m, sparsity=sparsity)) for m in methods]


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("family", list(CONFIGS))
def test_every_text_is_what_its_model_writes_alone(family: str, sampling: Sampling) -> None:
    model = tiny_model(family)
    prunings = pruned(model, "magnitude", "wanda", "random", sparsity=0.7)
    prompt = encode_prompt(model, "a fox and a hen")
    before = snapshot(model.network)
    random = torch.get_rng_state()
    writings = generate_side_by_side(model, prompt, prunings, sampling)
    assert torch.equal(torch.get_rng_state(), random), "the program's own random numbers moved"
    assert_untouched(model.network, before)
    texts = [w.tokens for w in writings]
    assert texts == expected(model, prompt, prunings, sampling)
    assert len({tuple(text) for text in texts}) > 2, "the prunings changed nothing: the test shows nothing"


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_texts_that_share_no_memory_are_written_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, sampling: Sampling
) -> None:
    model = tiny_model("llama")
    prunings = pruned(model, "magnitude", "wanda", "random", sparsity=0.7)
    prompt = encode_prompt(model, "a fox")
    together = [w.tokens for w in generate_side_by_side(model, prompt, prunings, sampling)]
    monkeypatch.setattr(generation, "_weights_that_fit", lambda *_: 2)
    seen = []

    def on_token(writings: list[Writing], share: float) -> None:
        seen.append([len(w.tokens) for w in writings])

    assert [
        w.tokens for w in generate_side_by_side(model, prompt, prunings, sampling, on_token=on_token)
    ] == together
    assert [1, 1, 1, 0] in seen


def test_experts_are_written_with_as_well() -> None:
    """All experts of a module are one parameter."""
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        eos_token_id=256,
    )
    network = AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    model = with_loud_blocks("mixtral", network)
    prunings = pruned(model, "magnitude", "wanda", sparsity=0.7)
    prompt = encode_prompt(model, "a fox")
    before = snapshot(network)
    texts = [w.tokens for w in generate_side_by_side(model, prompt, prunings, GREEDY)]
    assert_untouched(network, before)
    assert texts == expected(model, prompt, prunings, GREEDY)
    assert len({tuple(text) for text in texts}) == 3


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_packed_weights_write_what_the_masked_ones_do(family: str) -> None:
    model = tiny_model(family)
    tokens = torch.randint(200, (4, 24), generator=torch.Generator().manual_seed(1))
    prunings = [
        prune(model.prunable, tokens, Recipe(method=m, pattern="2:4")) for m in ("magnitude", "wanda")
    ]
    prompt = encode_prompt(model, "a fox and a hen")
    before = snapshot(model.network)
    writings = generate_side_by_side(model, prompt, prunings, GREEDY, pack=True)
    assert_untouched(model.network, before)
    assert all("forward" not in vars(module) for module in model.network.modules())
    assert [w.tokens for w in writings] == expected(model, prompt, prunings, GREEDY)
    assert writings[0].packed is None
    for writing in writings[1:]:
        assert set(writing.packed.kernels.values()) == {"2:4 numba"}
        assert not writing.packed.dense


def test_stop_leaves_no_packed_layer_behind() -> None:
    model = tiny_model("llama")
    tokens = torch.randint(200, (4, 24), generator=torch.Generator().manual_seed(1))
    pruning = prune(model.prunable, tokens, Recipe(method="wanda", pattern="2:4"))
    stop = threading.Event()
    with pytest.raises(Stopped):
        generate_side_by_side(
            model,
            encode_prompt(model, "a fox"),
            [pruning],
            GREEDY,
            pack=True,
            on_token=lambda *_: stop.set(),
            stop=stop,
        )
    assert all("forward" not in vars(module) for module in model.network.modules())


def test_weights_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    prunings = pruned(model, "magnitude")
    prompt = encode_prompt(model, "a fox")
    monkeypatch.setattr(generation, "free_bytes", lambda _: 2**20)
    with pytest.raises(Refused, match="free: take a smaller model"):
        generate_side_by_side(model, prompt, prunings, GREEDY)


def test_all_grow_at_the_same_time() -> None:
    model = tiny_model("llama")
    seen: list[tuple[list[int], float]] = []
    generate_side_by_side(
        model,
        encode_prompt(model, "a fox"),
        pruned(model, "magnitude", "wanda"),
        GREEDY,
        on_token=lambda writings, share: seen.append(([len(w.tokens) for w in writings], share)),
    )
    assert [lengths for lengths, _ in seen[:3]] == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_text_may_end_before_the_others() -> None:
    """The end token is one that the pruned model writes and the dense one does not."""
    model = tiny_model("llama")
    prunings = pruned(model, "magnitude", sparsity=0.7)
    prompt = encode_prompt(model, "a fox")
    dense, magnitude = expected(model, prompt, prunings, GREEDY)
    place, end = next((i, token) for i, token in enumerate(magnitude) if token not in dense)
    model.network.generation_config.eos_token_id = end
    writings = generate_side_by_side(model, prompt, prunings, GREEDY)
    assert [w.tokens for w in writings] == [dense, magnitude[: place + 1]]


def test_what_the_model_itself_has_set_holds_as_in_generate() -> None:
    model = tiny_model("llama")
    model.network.generation_config.repetition_penalty = 3.0
    model.network.generation_config.top_k = 3
    prompt = encode_prompt(model, "a fox and a hen")
    for sampling in (GREEDY, DRAWN):
        (dense,) = generate_side_by_side(model, prompt, [], sampling)
        assert dense.tokens == alone(model, prompt, sampling)


def test_likelihood_is_the_dense_models() -> None:
    model = tiny_model("llama")
    prunings = pruned(model, "magnitude", "wanda", sparsity=0.8)
    prompt = encode_prompt(model, "a fox and a hen")
    for writing in generate_side_by_side(model, prompt, prunings, DRAWN):
        # One token after the other, with nothing kept between them.
        context, total = prompt, 0.0
        for token in writing.tokens:
            logits = model.network(context).logits[0, -1].double()
            total += (logits[token] - logits.logsumexp(0)).item()
            context = torch.cat([context, torch.tensor([[token]])], dim=1)
        assert writing.perplexity == pytest.approx(math.exp(-total / len(writing.tokens)), rel=1e-5)


def test_departure() -> None:
    assert departure([1, 2, 3], [1, 2, 3]) is None
    assert departure([1, 2], [1, 2, 3]) is None
    assert departure([1, 9, 3], [1, 2, 3]) == 1
    model = tiny_model("llama")
    dense, magnitude = generate_side_by_side(
        model, encode_prompt(model, "a fox"), pruned(model, "magnitude", sparsity=0.6), GREEDY
    )
    assert dense.departs is None
    assert magnitude.tokens[: magnitude.departs] == dense.tokens[: magnitude.departs]
    assert magnitude.tokens[magnitude.departs] != dense.tokens[magnitude.departs]


def test_repetition() -> None:
    assert repetition([1, 2, 3]) is None
    assert repetition([1, 2, 3, 4]) == 0
    assert repetition([7] * 13) == pytest.approx(9 / 10)  # ten 4-grams, nine of which were there before
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)


def test_the_shared_part_ends_between_whole_characters() -> None:
    """`é` and `è` share their first byte: the texts depart in the middle of a character."""
    tokenizer = byte_tokenizer()
    dense, other = tokenizer("caf\u00e9s")["input_ids"], tokenizer("caf\u00e8s")["input_ids"]
    writing = Writing(other, departs=departure(other, dense))
    assert writing.departs == 4
    assert writing.shared_characters(tokenizer) == 3
    assert Writing(dense).shared_characters(tokenizer) is None


def test_a_chat_template_is_used_where_there_is_one() -> None:
    model = tiny_model("llama")
    assert model.tokenizer.decode(encode_prompt(model, "Hello")[0]) == "Hello"
    model.tokenizer.chat_template = CHAT
    assert model.tokenizer.decode(encode_prompt(model, "Hello")[0]) == "[user] Hello\n[assistant] "


def test_a_chat_template_that_fails_is_an_error() -> None:
    model = tiny_model("llama")
    model.tokenizer.chat_template = "{{ raise_exception('system message needed') }}"
    with pytest.raises(Refused, match="system message needed"):
        encode_prompt(model, "Hello")


def test_empty_prompt_is_refused() -> None:
    with pytest.raises(Refused, match="prompt is empty"):
        encode_prompt(tiny_model("llama"), " \n")


def test_a_token_that_the_model_lacks_is_refused() -> None:
    """A tokenizer may have tokens of its own; on CUDA one of them would end the whole process."""
    network = tiny("llama")
    model = LanguageModel("tiny", None, "", network, byte_tokenizer(), find_prunable_layers(network))
    with pytest.raises(
        Refused, match=f"the prompt holds a token outside the model's vocabulary of {VOCABULARY}"
    ):
        generate_side_by_side(model, torch.tensor([[1, VOCABULARY]]), [], Sampling(4))


def test_more_than_the_model_reads_is_refused() -> None:
    model = tiny_model("llama")
    prompt = encode_prompt(model, "x" * 200)
    generate_side_by_side(model, prompt, [], Sampling(new_tokens=56))
    with pytest.raises(Refused, match="200 tokens of prompt and 57 new ones are more than the 256"):
        generate_side_by_side(model, prompt, [], Sampling(new_tokens=57))


def test_stop_ends_all_between_tokens_and_leaves_the_model_dense() -> None:
    model = tiny_model("llama")
    before = snapshot(model.network)
    stop = threading.Event()
    seen = []

    def on_token(writings: list[Writing], share: float) -> None:
        seen.append(len(writings[0].tokens))
        if len(seen) == 5:
            stop.set()

    with pytest.raises(Stopped):
        generate_side_by_side(
            model, encode_prompt(model, "a fox"), pruned(model, "wanda"), GREEDY, on_token=on_token, stop=stop
        )
    assert seen == [1, 2, 3, 4, 5]
    assert_untouched(model.network, before)


def test_stop_ends_a_forward_at_its_next_block() -> None:
    """Reading a long prompt with a large model takes longer than a second."""
    model = tiny_model("llama")
    before = snapshot(model.network)
    stop = threading.Event()
    blocks = []
    hooks = [
        block.register_forward_hook(lambda *_: (blocks.append(1), stop.set()))
        for block in model.prunable.blocks
    ]
    with pytest.raises(Stopped):
        generate_side_by_side(model, encode_prompt(model, "a fox"), [], GREEDY, stop=stop)
    for hook in hooks:
        hook.remove()
    assert len(blocks) == 1
    assert_untouched(model.network, before)


def test_pocket_writes_what_generate_writes() -> None:
    model = load("pocket")
    (dense,) = generate_side_by_side(
        model, encode_prompt(model, "Long ago, a fox"), [], Sampling(new_tokens=40)
    )
    assert dense.tokens == alone(model, encode_prompt(model, "Long ago, a fox"), Sampling(new_tokens=40))
