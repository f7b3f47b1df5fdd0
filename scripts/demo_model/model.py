"""A llama in PyTorch, exactly as llama.cpp computes it; only for training."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

NORM_EPSILON = 1e-5
ROPE_BASE = 10_000.0


@dataclass(frozen=True)
class Shape:
    """The size of the model. Widths are multiples of 32, the block of Q8_0."""

    n_vocab: int
    n_layer: int = 4
    n_embd: int = 192
    n_head: int = 3
    n_head_kv: int = 1
    n_ff: int = 384
    n_ctx_train: int = 1024

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head


def rope_table(n_ctx: int, head_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines per position and pair of neighbouring dimensions."""
    frequency = ROPE_BASE ** (-torch.arange(0, head_dim, 2) / head_dim)
    angle = torch.outer(torch.arange(n_ctx).float(), frequency)
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate neighbouring pairs (0,1), (2,3) …: llama.cpp's order, so nothing is permuted later."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Block(nn.Module):
    """Attention with grouped heads, then a gated feed-forward network."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.drop = dropout
        kv_width = shape.n_head_kv * shape.head_dim
        self.attn_norm = nn.RMSNorm(shape.n_embd, eps=NORM_EPSILON)
        self.attn_q = nn.Linear(shape.n_embd, shape.n_embd, bias=False)
        self.attn_k = nn.Linear(shape.n_embd, kv_width, bias=False)
        self.attn_v = nn.Linear(shape.n_embd, kv_width, bias=False)
        self.attn_output = nn.Linear(shape.n_embd, shape.n_embd, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.n_embd, eps=NORM_EPSILON)
        self.ffn_gate = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.ffn_up = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.ffn_down = nn.Linear(shape.n_ff, shape.n_embd, bias=False)

    def forward(self, x: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x = x + self._dropout(self._attend(self.attn_norm(x), rope))
        h = self.ffn_norm(x)
        return x + self._dropout(self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h)))

    def _dropout(self, x: torch.Tensor) -> torch.Tensor:
        """Drop channels for a whole conversation: cheap, and no token can tell on another."""
        if not self.training:
            return x
        kept = torch.rand(x.shape[0], 1, x.shape[2]) >= self.drop
        return x * kept / (1 - self.drop)

    def _attend(self, x: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        batch, length, width = x.shape
        heads = (batch, length, -1, self.shape.head_dim)
        q = rotate(self.attn_q(x).view(heads).transpose(1, 2), *rope)
        k = rotate(self.attn_k(x).view(heads).transpose(1, 2), *rope)
        v = self.attn_v(x).view(heads).transpose(1, 2)
        group = self.shape.n_head // self.shape.n_head_kv
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        # Written out: on a CPU, PyTorch's fused attention takes twice as long at these sizes.
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        scores = (q @ k.transpose(-2, -1)) * self.shape.head_dim**-0.5
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1).to(v.dtype) @ v
        return self.attn_output(mixed.transpose(1, 2).reshape(batch, length, width))


class Llama(nn.Module):
    """Token ids to logits; the embedding is also the output matrix."""

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.dropout = nn.Dropout(dropout)
        self.blk = nn.ModuleList(Block(shape, dropout) for _ in range(shape.n_layer))
        self.output_norm = nn.RMSNorm(shape.n_embd, eps=NORM_EPSILON)
        cos, sin = rope_table(shape.n_ctx_train, shape.head_dim)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.5 / shape.n_embd**0.5)

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the last layer's normalised output for each position."""
        x = self.dropout(self.token_embd(tokens))
        rope = (self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]])
        for block in self.blk:
            x = block(x, rope)
        return self.output_norm(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return scores over the vocabulary."""
        return F.linear(hidden, self.token_embd.weight)
