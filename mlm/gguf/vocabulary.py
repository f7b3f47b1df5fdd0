"""A model's tokens as its file lists them, and which of them mean something special."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlm.gguf.types import TOKENS, GGUFHeader, Value

TOKEN_TYPES = "tokenizer.ggml.token_type"
KEPT = frozenset({TOKENS, TOKEN_TYPES})  # for `mlm.gguf.header.read_header`

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # llama_token_type
KNOWN_TYPES = range(7)
SPECIAL = (
    "bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask", "fim_pre", "fim_suf",
    "fim_mid", "fim_pad", "fim_rep", "fim_sep",
)  # fmt: skip  # 'seperator' is how the key is spelled
# Tokens at which llama.cpp ends an answer, whatever the file says (llama-vocab.cpp, 0.3.36).
ENDS = frozenset((
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
    "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
    "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>", "[e~[",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens in order; ``types`` is empty where the file has none."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    special: Mapping[str, int]  # name, as in SPECIAL, to id

    def text(self, name: str) -> str:
        """Return how a special token is spelled, "" where there is none."""
        number = self.special.get(name, -1)
        return self.tokens[number] if 0 <= number < len(self.tokens) else ""

    def ends(self) -> frozenset[str]:
        """Return the spellings of all tokens at which an answer ends."""
        own = {self.text(name) for name in ("eos", "eot", "eom")}
        return frozenset((ENDS & set(self.tokens)) | own) - {""}

    def special_tokens(self) -> frozenset[str]:
        """Return the spellings of all tokens that no ordinary text is made of."""
        if not self.types:
            return frozenset(self.text(name) for name in self.special) - {""}
        pairs = zip(self.tokens, self.types, strict=False)
        marked = {token for token, kind in pairs if kind in (CONTROL, USER_DEFINED)}
        return frozenset(marked | self.ends()) - {""}


def find_vocabulary(header: GGUFHeader) -> Vocabulary | None:
    """Return the vocabulary of a header that was read with `KEPT`, None if it has none."""
    tokens, types = header.values.get(TOKENS), header.values.get(TOKEN_TYPES, ())
    if not isinstance(tokens, tuple) or not tokens:
        return None
    special = {
        name: value
        for name in SPECIAL
        if isinstance(value := header.values.get(f"tokenizer.ggml.{name}_token_id"), int)
    }
    return Vocabulary(tuple(str(token) for token in tokens), _numbers(types), special)


def _numbers(value: Value) -> tuple[int, ...]:
    return (
        tuple(item for item in value if isinstance(item, int)) if isinstance(value, tuple) else ()
    )
