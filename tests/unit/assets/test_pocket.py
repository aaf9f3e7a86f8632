"""The pocket model: its grammar, its texts and its weights."""

import re
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from wanda_core.assets import ASSETS

POCKET = ASSETS / "pocket"
sys.path.insert(0, str(POCKET))

import grammar  # noqa: E402
import train  # noqa: E402

# measured when the model was trained, in float32 on the first 64 windows of 256 tokens of evaluation.txt
MEASURED_PERPLEXITY = 1.970


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(POCKET)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32).eval()


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_a_seed_always_tells_the_same_story():
    assert grammar.tell(7) == grammar.tell(7)


def test_two_seeds_tell_two_stories():
    assert len({grammar.tell(seed).text for seed in range(500)}) == 500


def test_every_plot_is_told_and_nothing_is_left_of_the_templates():
    stories = [grammar.tell(seed) for seed in range(500)]
    _, plots = grammar.load_grammar()
    assert {story.plot for story in stories} == {plot.name for plot in plots}
    for story in stories:
        assert not re.search(r"[\[\]{}|~^]|  ", story.text), story.text
        assert not re.search(r"\b[Aa] [aeiou]|\ban [b-dfgj-np-tv-z]", story.text), story.text
        assert 50 < len(story.text.split()) < 300
        assert re.fullmatch(r'[A-Z].*[.!?]"?', story.text)


def test_a_thing_keeps_its_number_through_a_story():
    """Boots are "they" in every plot about a lost thing; a kite is "it"."""
    stories = [story for story in map(grammar.tell, range(3000)) if story.plot == "lost"]
    boots = [story.text for story in stories if "pair of" in story.text and " boots" in story.text]
    kites = [story.text for story in stories if re.search(r"\bkite\b", story.text)]
    assert boots
    assert kites
    assert not any(re.search(r"boots (was|is|has)\b", text) for text in boots)
    assert not any(re.search(r"kite (were|are|have)\b", text) for text in kites)


def test_the_bits_bound_the_repetition_of_a_short_choice():
    """A template with 2 x 4 equally likely outcomes costs three bits, whichever is taken."""
    teller = grammar.Teller(grammar.random.Random(0), rules={"four": "[a|b|c|d]"})
    teller.expand("[x|y] {four} z")
    assert teller.bits == 3.0


@pytest.mark.parametrize(
    ("file", "seeds"),
    [("calibration.txt", grammar.CALIBRATION_SEEDS), ("evaluation.txt", grammar.EVALUATION_SEEDS)],
)
def test_the_texts_are_what_the_grammar_tells(file: str, seeds: range):
    assert (POCKET / file).read_text(encoding="utf-8") == grammar.text_of(seeds)


def test_no_seed_is_used_twice():
    stories_trained_on = train.STEPS * train.BATCH * train.LENGTH // 100  # a story has more than 100 tokens
    training = range(grammar.FIRST_TRAINING_SEED, grammar.FIRST_TRAINING_SEED + stories_trained_on)
    for seeds in (grammar.CALIBRATION_SEEDS, grammar.EVALUATION_SEEDS):
        assert not set(seeds) & set(training)
    assert not set(grammar.CALIBRATION_SEEDS) & set(grammar.EVALUATION_SEEDS)


def test_size(model):
    assert 2_000_000 < model.num_parameters() < 5_000_000
    assert sum(file.stat().st_size for file in POCKET.glob("*.safetensors")) <= 8 * 2**20
    assert sum(file.stat().st_size for file in POCKET.iterdir() if file.is_file()) <= 9 * 2**20


def test_every_prunable_layer_fits_the_patterns(model):
    layers = [module for module in model.model.layers.modules() if isinstance(module, torch.nn.Linear)]
    assert len(layers) == 7 * 6
    assert all(size % 32 == 0 for layer in layers for size in layer.weight.shape)


def test_the_head_is_the_embedding_and_bfloat16_loads():
    model = AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_any_text_survives_the_tokenizer(tokenizer):
    text = 'Grüße, 世界! \t "1 + 1 = 2" 🦊\n\nOnce upon a time'
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.eos_token == tokenizer.bos_token == "<|endoftext|>"
    assert tokenizer.eos_token_id < len(tokenizer) == 2048


def test_held_out_perplexity(model, tokenizer):
    assert train.perplexity(model, tokenizer) < 1.05 * MEASURED_PERPLEXITY


def test_a_greedy_story_ends_and_has_only_words_of_the_grammar(model, tokenizer):
    opening = (
        "<|endoftext|>Once upon a time there was a brave fox named Nora who lived in a den under an old oak."
    )
    inputs = tokenizer(opening, return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=400, do_sample=False)[0, inputs.input_ids.shape[1] :]
    assert written[-1] == tokenizer.eos_token_id
    story = tokenizer.decode(written, skip_special_tokens=True)
    known = words_of(grammar.text_of(range(grammar.FIRST_TRAINING_SEED, grammar.FIRST_TRAINING_SEED + 3000)))
    assert len(story.split()) > 40
    assert words_of(story) <= known
