"""Trained weights to GGUF, and GGUF to Q8_0 by llama.cpp's own quantizer in a child process."""

import os
import subprocess
from pathlib import Path

import gguf
from model import NORM_EPSILON, ROPE_BASE, Llama
from tokenizer import CHAT_TEMPLATE, CONTROL_TOKENS, END_OF_TURN
from tokenizers import Tokenizer

QUANTIZE = """
import sys, llama_cpp
params = llama_cpp.llama_model_quantize_default_params()
params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0
params.nthread = 1
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), params))
"""


def write_gguf(path: Path, model: Llama, tokenizer: Tokenizer) -> None:
    """Write the model in 32-bit floats, with everything that llama.cpp needs to run and chat."""
    writer = gguf.GGUFWriter(path, "llama")
    shape = model.shape
    writer.add_name("mlm demo")
    writer.add_description(
        "A tiny model that answers questions about mlm; made for tests and demos"
    )
    writer.add_license("apache-2.0")
    writer.add_size_label(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}M")
    writer.add_context_length(shape.n_ctx_train)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_vocab_size(shape.n_vocab)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, tokenizer)
    for name, weight in model.state_dict().items():
        writer.add_tensor(name, weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    ids = tokenizer.get_vocab()
    tokens = sorted(ids, key=ids.__getitem__)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    merges = _merges_of(tokenizer)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in CONTROL_TOKENS else normal for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(ids[CONTROL_TOKENS[0]])
    writer.add_eos_token_id(ids[END_OF_TURN])
    writer.add_eot_token_id(ids[END_OF_TURN])
    writer.add_pad_token_id(ids[END_OF_TURN])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _merges_of(tokenizer: Tokenizer) -> list[str]:
    import json

    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def quantize(source: Path, target: Path, python: Path) -> None:
    """Quantize ``source`` to Q8_0 with the llama.cpp that ``python`` has.

    Raises:
        subprocess.CalledProcessError: llama.cpp refused.
    """
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    command = [str(python), "-c", QUANTIZE, str(source), str(target)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
