"""Trains the demo model from scratch and writes ``mlm/demo/mlm-demo.gguf``; see README.md.

    python scripts/demo_model/train.py

Everything that can be chosen stands in `Recipe`. The same seed gives the same model on the same
machine and version of PyTorch.
"""

import argparse
import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from convert import quantize, write_gguf
from dataset import Dataset, Message
from model import Llama, Shape
from tokenizer import CONTROL_TOKENS, END_OF_TURN, train_tokenizer
from tokenizers import Tokenizer
from torch.nn import functional as F

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "mlm" / "demo" / "mlm-demo.gguf"
IGNORED = -1  # label of what is not an answer
Sample = tuple[list[int], list[int]]  # tokens, and for each the one that should come next


@dataclass(frozen=True)
class Recipe:
    """The training parameters."""

    seed: int = 7
    vocab_size: int = 1536
    tokenizer_samples: int = 30_000  # questions and answers that the merges are learned from
    steps: int = 1_700
    batch_tokens: int = 4_096  # padding included: about 70 conversations
    longest: int = 600  # tokens; longer conversations are not used
    pool: int = 1_024  # conversations drawn together and sorted by length: little is padding
    share_raw: float = 0.03  # of conversations that are only "question, newline, answer"
    peak_rate: float = 2e-3
    warmup_steps: int = 150
    weight_decay: float = 0.1
    dropout: float = 0.1  # of token embeddings, and of channels after attention and feed-forward
    share_noise: float = 0.02  # of the tokens of questions that are replaced by random ones
    share_cut: float = 0.7  # of conversations whose last answer is cut, since …
    cut_tokens: int = 8  # … the first few tokens decide and the rest is soon known by heart
    n_threads: int = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--engine-python", type=Path, default=ROOT / ".venv" / "bin" / "python")
    arguments = parser.parse_args()
    recipe = Recipe(steps=arguments.steps)
    torch.set_num_threads(recipe.n_threads)
    torch.manual_seed(recipe.seed)

    dataset = Dataset(recipe.seed)
    tokenizer = learn_tokenizer(dataset, recipe)
    model = Llama(Shape(n_vocab=tokenizer.get_vocab_size()), recipe.dropout)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {model.shape}")
    train(model, batches(dataset, tokenizer, recipe), recipe)

    unquantized = arguments.output.with_suffix(".f32")
    write_gguf(unquantized, model, tokenizer)
    quantize(unquantized, arguments.output, arguments.engine_python)
    unquantized.unlink()
    print(f"wrote {arguments.output}, {arguments.output.stat().st_size:,} bytes")
    check_tokenizer(tokenizer, dataset, arguments.output, arguments.engine_python)


def learn_tokenizer(dataset: Dataset, recipe: Recipe) -> Tokenizer:
    """Return a tokenizer fit for what people ask and for what the model answers."""
    pairs = [dataset.exchange() for _ in range(recipe.tokenizer_samples)]
    return train_tokenizer((text for pair in pairs for text in pair), recipe.vocab_size)


def check_tokenizer(tokenizer: Tokenizer, dataset: Dataset, model: Path, python: Path) -> None:
    """Make sure that llama.cpp cuts texts exactly where the training did.

    Raises:
        SystemExit: it does not, so the model would see other tokens than it was trained on.
    """
    texts = [f"<|user|>\n{text}<|end|>\n" for _ in range(5000) for text in dataset.exchange()]
    request = json.dumps({"model": str(model), "texts": texts})
    command = [str(python), str(Path(__file__).with_name("ask.py"))]
    done = subprocess.run(command, input=request, stdout=subprocess.PIPE, text=True, check=True)
    for text, ids in zip(texts, json.loads(done.stdout)["tokens"], strict=True):
        if ids != tokenizer.encode(text).ids:
            sys.exit(f"llama.cpp tokenizes differently: {text!r}")
    print(f"llama.cpp tokenizes {len(texts):,} texts as the training did")


def encode(messages: list[Message], tokenizer: Tokenizer) -> Sample:
    """Return tokens as the chat template writes them, and labels: the answers, shifted by one."""
    ids: list[int] = []
    is_answer: list[bool] = []
    for message in messages:
        head = tokenizer.encode(f"<|{message.role}|>\n").ids
        body = tokenizer.encode(f"{message.content.strip()}{END_OF_TURN}").ids
        tail = tokenizer.encode("\n").ids
        ids += head + body + tail
        answered = message.role == "assistant"
        is_answer += [False] * len(head) + [answered] * len(body) + [False] * len(tail)
    labels = [token if wanted else IGNORED for token, wanted in zip(ids, is_answer, strict=True)]
    return ids[:-2], labels[1:-1]  # nothing is to be learned from the newline after the last turn


def batches(
    dataset: Dataset, tokenizer: Tokenizer, recipe: Recipe
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of tokens and labels without end."""
    while True:
        pool = [_sample(dataset, tokenizer, recipe) for _ in range(recipe.pool)]
        groups: list[list[Sample]] = [[]]
        for sample in sorted(pool, key=lambda sample: len(sample[0])):
            if len(sample[0]) > recipe.longest:
                break
            if (len(groups[-1]) + 1) * len(sample[0]) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(sample)
        dataset.dice.shuffle(groups)
        yield from map(_pad, groups)


def _sample(dataset: Dataset, tokenizer: Tokenizer, recipe: Recipe) -> Sample:
    if dataset.dice.random() < recipe.share_raw:
        question, answer = dataset.exchange()
        asked = tokenizer.encode(question).ids
        answered = tokenizer.encode(f"\n{answer}{END_OF_TURN}").ids
        return (asked + answered)[:-1], [IGNORED] * (len(asked) - 1) + answered
    ids, labels = encode(dataset.conversation(), tokenizer)
    _add_noise(ids, labels, tokenizer, dataset.dice, recipe.share_noise)
    if dataset.dice.random() < recipe.share_cut:
        question_ends = max(i for i, label in enumerate(labels) if label == IGNORED)
        keep = question_ends + 1 + recipe.cut_tokens
        return ids[:keep], labels[:keep]
    return ids, labels


def _add_noise(
    ids: list[int], labels: list[int], tokenizer: Tokenizer, dice: random.Random, share: float
) -> None:
    """Replace some tokens of what is asked, so that no single one becomes indispensable."""
    structure = {tokenizer.token_to_id(token) for token in CONTROL_TOKENS}
    structure.add(tokenizer.encode("\n").ids[0])
    n_vocab = tokenizer.get_vocab_size()
    for i, token in enumerate(ids):
        is_asked = i > 0 and labels[i - 1] == IGNORED and token not in structure
        if is_asked and dice.random() < share:
            ids[i] = dice.randrange(len(CONTROL_TOKENS), n_vocab)


def _pad(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(len(ids) for ids, _ in samples)
    tokens = torch.zeros(len(samples), length, dtype=torch.long)
    labels = torch.full((len(samples), length), IGNORED)
    for row, (ids, wanted) in enumerate(samples):
        tokens[row, : len(ids)] = torch.tensor(ids)
        labels[row, : len(wanted)] = torch.tensor(wanted)
    return tokens, labels


def train(
    model: Llama, stream: Iterator[tuple[torch.Tensor, torch.Tensor]], recipe: Recipe
) -> None:
    """Train in place: AdamW, warm-up, then a cosine down to nothing."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": norms}],
        betas=(0.9, 0.98),
        weight_decay=0.0,
    )
    started = time.monotonic()
    model.train()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, recipe)
        tokens, labels = next(stream)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.hidden(tokens)
            wanted = labels != IGNORED
            logits = model.logits(hidden[wanted])
        loss = F.cross_entropy(logits.float(), labels[wanted])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == recipe.steps - 1:
            elapsed = time.monotonic() - started
            print(f"step {step:5}  loss {loss.item():.4f}  {elapsed:5.0f} s", flush=True)
    model.eval()


def _rate(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup_steps:
        return recipe.peak_rate * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / (recipe.steps - recipe.warmup_steps)
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * progress))


if __name__ == "__main__":
    sys.exit(main())
