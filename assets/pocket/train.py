"""Train the pocket model: a small Llama that writes the stories of `grammar.py`.

    python train.py                            writes both texts, the tokenizer and the model into this folder
    python train.py --steps 60 --out FOLDER    a trial

Nothing is downloaded. The same steps and threads on the same machine give the same weights.
"""

import argparse
import math
import random
import time
from pathlib import Path

import torch
from grammar import CALIBRATION_SEEDS, EVALUATION_SEEDS, FIRST_TRAINING_SEED, tell, text_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
END = "<|endoftext|>"
LENGTH = 256
CONTEXT = 512
VOCABULARY = 2048
BATCH = 4
STEPS = 2400
WARMUP = 200
PEAK_RATE = 2e-3
# Stories come in runs of one kind, so that a window shows whether an end mark or a blank line is between them.
RUN = 8
BLANK_LINE_SHARE = 0.3
TOKENIZER_STORIES = 4000
EVALUATION_WINDOWS = 64


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE made on training stories; any text can be written with it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    stories = (tell(FIRST_TRAINING_SEED + number).text + "\n\n" for number in range(TOKENIZER_STORIES))
    tokenizer.train_from_iterator(stories, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, model_max_length=CONTEXT
    )


def training_windows(tokenizer: PreTrainedTokenizerFast, count: int) -> torch.Tensor:
    """Stories packed end to end, every story used once.

    Returns:
        int64 (count, LENGTH)
    """
    rng = random.Random(0)
    tokens: list[int] = []
    seed = FIRST_TRAINING_SEED
    while len(tokens) < count * LENGTH:
        between = "\n\n" if rng.random() < BLANK_LINE_SHARE else END
        run = between.join(tell(number).text for number in range(seed, seed + RUN)) + END
        tokens += tokenizer.encode(run, add_special_tokens=False)
        seed += RUN
    return torch.tensor(tokens[: count * LENGTH]).view(count, LENGTH)


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The untrained model. All widths are multiples of 32, so that N:M patterns fit every layer."""
    end = tokenizer.eos_token_id
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=3,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def rate(step: int, steps: int) -> float:
    """Learning rate: a linear warm-up, then half a cosine down to a twentieth."""
    if step < WARMUP:
        return PEAK_RATE * (step + 1) / WARMUP
    done = (step - WARMUP) / max(1, steps - WARMUP)
    return PEAK_RATE * (0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2)


def train(model: LlamaForCausalLM, windows: torch.Tensor, steps: int) -> None:
    """AdamW over the windows, once, in float32."""
    matrices = [weight for weight in model.parameters() if weight.ndim == 2]
    vectors = [weight for weight in model.parameters() if weight.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)
    model.train()
    start, mean = time.perf_counter(), 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        batch = windows[step * BATCH : (step + 1) * BATCH]  # (BATCH, LENGTH)
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean += loss.item()
        if (step + 1) % 100 == 0:
            minutes = (time.perf_counter() - start) / 60
            print(f"step {step + 1}/{steps}  loss {mean / 100:.4f}  {minutes:.1f} min", flush=True)
            mean = 0.0


@torch.no_grad()
def perplexity(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> float:
    """Perplexity on the first windows of evaluation.txt, without overlap."""
    tokens = tokenizer.encode((HERE / "evaluation.txt").read_text(encoding="utf-8"), add_special_tokens=False)
    windows = torch.tensor(tokens[: EVALUATION_WINDOWS * LENGTH]).view(EVALUATION_WINDOWS, LENGTH)
    model.eval()
    losses = [model(input_ids=batch, labels=batch).loss.item() for batch in windows.split(BATCH)]
    return math.exp(sum(losses) / len(losses))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()

    torch.manual_seed(0)
    (HERE / "calibration.txt").write_text(text_of(CALIBRATION_SEEDS), encoding="utf-8")
    (HERE / "evaluation.txt").write_text(text_of(EVALUATION_SEEDS), encoding="utf-8")
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    windows = training_windows(tokenizer, options.steps * BATCH)
    print(f"{model.num_parameters():,} parameters, {windows.numel():,} tokens", flush=True)
    train(model, windows, options.steps)

    end = tokenizer.eos_token_id
    model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=end)
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    print(f"perplexity {perplexity(model.float(), tokenizer):.4f}")


if __name__ == "__main__":
    main()
