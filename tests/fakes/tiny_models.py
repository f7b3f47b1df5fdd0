"""Tiny random-weight models of several architectures, real enough for llama.cpp to run.

What they say is noise, but the same noise every time: greedy answers can be compared between
two ways of computing them. The vocabulary spells any text: bytes, letters, a few words.
"""

from collections.abc import Sequence
from pathlib import Path

import gguf
from fakes.tiny_layers import (
    ARCHITECTURE_OF,
    ENCODERS,
    LAYERS_OF,
    N_CTX_TRAIN,
    N_EMBD,
    N_LAYER,
    OUTPUT_NORM_OF,
    TIED,
    Weights,
)

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)

_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # llama_token_type
_LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
WORDS = ("the", "and", "you", "is", "of", "to", "system", "user", "assistant", "hello", "world")


def write_tiny_model(
    path: Path,
    kind: str = "llama",
    *,
    chat_template: str | None = CHAT_TEMPLATE,
    control_tokens: Sequence[str] = (),
    tokenizer: str | None = "llama",
) -> Path:
    """Write a model of about 300 kB and return its path.

    ``kind`` is an architecture or another key of `LAYERS_OF`. ``control_tokens`` come behind all
    others, from `FIRST_CONTROL_TOKEN` on. Of another ``tokenizer`` than llama's there is only the
    name, or not even that, and no vocabulary.
    """
    weights = Weights(gguf.GGUFWriter(path, ARCHITECTURE_OF.get(kind, kind)), seed=7)
    writer = weights.writer
    writer.add_name(f"tiny {kind}")
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(N_LAYER)
    if tokenizer != "llama":
        n_vocab = 512
        writer.add_vocab_size(n_vocab)
        if tokenizer is not None:
            writer.add_tokenizer_model(tokenizer)
    elif kind in ENCODERS:
        n_vocab = _add_word_pieces(writer)
    else:
        n_vocab = _add_vocabulary(writer, control_tokens)
        if chat_template is not None:
            writer.add_chat_template(chat_template)
    weights.matrix("token_embd.weight", n_vocab, N_EMBD, scale=1.0)
    if kind not in ENCODERS:
        weights.ones(f"{OUTPUT_NORM_OF.get(kind, 'output_norm')}.weight", N_EMBD)
        if kind not in TIED:
            weights.matrix("output.weight", n_vocab, N_EMBD)
    LAYERS_OF[kind](weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _ordinary_tokens() -> list[tuple[str, int]]:
    tokens = [("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)]
    tokens += [("<|im_start|>", _CONTROL), ("<|im_end|>", _CONTROL)]
    tokens += [(f"<0x{byte:02X}>", _BYTE) for byte in range(256)]
    letters = [chr(code) for code in range(33, 127)] + ["\u2581", "é", "\u4f60", "\u597d"]
    tokens += [(letter, _NORMAL) for letter in letters]
    tokens += [("\u2581" + word, _NORMAL) for word in WORDS]
    for word in WORDS:  # SentencePiece joins pairs, so every step on the way must be a token
        tokens += [(f"\u2581{word[:n]}", _NORMAL) for n in range(1, len(word))]
    return list(dict.fromkeys(tokens))


FIRST_CONTROL_TOKEN = len(_ordinary_tokens())
# Tokens that stay themselves when their text is read again: no two of them join.
LETTERS = {text: token for token, (text, _) in enumerate(_ordinary_tokens()) if text in _LETTERS}


def _add_vocabulary(writer: gguf.GGUFWriter, control_tokens: Sequence[str]) -> int:
    """Add a SentencePiece vocabulary and return its size."""
    tokens = [*_ordinary_tokens(), *((text, _CONTROL) for text in control_tokens)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    ranks = enumerate(kind for _, kind in tokens)
    writer.add_token_scores([float(-rank) if kind == _NORMAL else 0.0 for rank, kind in ranks])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    return len(tokens)


def _add_word_pieces(writer: gguf.GGUFWriter) -> int:
    """Add the vocabulary of an encoder, of letters and words, and return its size."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    tokens = [*special, *("\u2581" + text for text in (*letters, *WORDS)), *letters]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL] * len(special) + [_NORMAL] * (len(tokens) - len(special)))
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_mask_token_id(4)
    return len(tokens)
