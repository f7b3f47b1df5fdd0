"""Vocabularies as large as real ones, of words that mean nothing."""

import random

from fakes.gguf_files import ARRAY, I32, STRING, U32, GGUFFile

_NORMAL, _CONTROL = 1, 3  # llama_token_type


def spell(made: GGUFFile, n_tokens: int) -> GGUFFile:
    """Give the model a byte-level BPE vocabulary of ``n_tokens``, like GPT-2's and its heirs'.

    Each word is made of two that came before, so that every merge can happen. Digits are in none:
    a text of digits has as many tokens.
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(code) for code in plain] + [chr(256 + n) for n in range(256 - len(plain))]
    tokens, known, merges = list(letters), set(letters), []
    parts = [letter for letter in letters if not letter.isdigit()]
    dice = random.Random(7)
    while len(tokens) < n_tokens - 1:
        left, right = dice.choice(parts), dice.choice(parts[:2000])
        word = left + right
        if word not in known and len(word) <= 12:
            known.add(word)
            tokens.append(word)
            parts.append(word)
            merges.append(f"{left} {right}")
    tokens.append("<|end|>")
    made.set("tokenizer.ggml.model", STRING, "gpt2")
    made.set("tokenizer.ggml.pre", STRING, "qwen2")
    made.set("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))
    kinds = [_NORMAL] * (len(tokens) - 1) + [_CONTROL]
    made.set("tokenizer.ggml.token_type", ARRAY, (I32, kinds))
    made.set("tokenizer.ggml.merges", ARRAY, (STRING, merges))
    made.set("tokenizer.ggml.eos_token_id", U32, len(tokens) - 1)
    return made
