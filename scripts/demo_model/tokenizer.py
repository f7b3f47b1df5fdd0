"""The demo model's tokenizer: byte-level BPE as llama.cpp does it for ``gpt2`` / ``gpt-2``.

Every byte is a token of its own, so any UTF-8 text can be encoded. The merges are learned with the
`tokenizers` package; `evaluate.py` checks that llama.cpp cuts all texts in the same places.
"""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CONTROL_TOKENS = ("<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
END_OF_TURN = "<|end|>"

# How a conversation becomes text. The loss is taken on what follows <|assistant|>.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- set role = {'developer': 'system', 'tool': 'user'}.get(message.role, message.role) -%}
{%- if role not in ('system', 'user', 'assistant') -%}
{{- raise_exception('this model knows the roles system, user and assistant') -}}
{%- endif -%}
{{- '<|' + role + '|>\\n' -}}
{%- if message.content is string -%}
{{- message.content | trim -}}
{%- else -%}
{%- for part in message.content or [] if part.type == 'text' -%}
{{- part.text | trim -}}
{%- endfor -%}
{%- endif -%}
{{- '<|end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>\\n' -}}
{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Return a tokenizer whose merges are learned from ``texts``; control tokens come first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
