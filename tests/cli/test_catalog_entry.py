"""What an entry of the catalog keeps of a header."""

from typing import Any

import pytest
from fakes.gguf_files import BytesSource, llama, model, vocabulary

from mlm.catalog.types import Architecture
from mlm.cli.catalog._entry import default_id, describe_architecture
from mlm.gguf.header import read_header
from mlm.gguf.metadata import describe_model


def describe(architecture: str, **hyperparameters: Any) -> Architecture:
    made = vocabulary(model(architecture, **hyperparameters), [f"token{i}" for i in range(96)])
    made.tensors = llama().tensors
    return describe_architecture(describe_model(read_header(BytesSource(made.encode()))))


def test_a_plain_model_is_told_by_its_dimensions():
    made = describe("llama", block_count=2, attention__head_count=4, attention__head_count_kv=2)
    assert (made.name, made.n_layer, made.n_embd, made.n_head, made.n_head_kv) == (
        "llama", 2, 64, 4, 2
    )  # fmt: skip
    assert (made.head_dim, made.n_ff, made.n_vocab) == (16, 128, 96)
    assert made.n_expert is made.sliding_window is made.n_layer_attention is None


def test_a_mixture_keeps_the_size_of_one_expert():
    made = describe("qwen3moe", expert_count=8, expert_used_count=2, expert_feed_forward_length=32)
    assert (made.n_expert, made.n_expert_used, made.n_ff) == (8, 2, 32)


def test_layers_that_slide_are_not_counted_as_keeping_the_whole_context():
    made = describe("gemma2", block_count=4, attention__sliding_window=128)
    assert (made.sliding_window, made.n_layer_attention) == (128, 2)


def test_a_recurrent_model_keeps_no_context_at_all():
    made = describe("mamba", attention__head_count=0, attention__head_count_kv=0,
                    ssm__conv_kernel=4, ssm__inner_size=128, ssm__state_size=8,
                    ssm__time_step_rank=4)  # fmt: skip
    assert made.n_layer_attention == 0
    assert (made.n_head, made.n_head_kv) == (1, 1)


@pytest.mark.parametrize(
    ("repo", "name"),
    [("org/Qwen3-8B-GGUF", "qwen3-8b"), ("me/My_Model.gguf", "my_model"), ("a/B-C", "b-c")],
)
def test_a_model_is_called_after_its_repository(repo: str, name: str):
    assert default_id(repo) == name
