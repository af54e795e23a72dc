"""Uni3D's transformer: patch tokens → one embedding.

Weight names and arithmetic are those of timm's EVA-02 blocks (pre-norm, SwiGLU, no bias on keys) without rotary
embedding, as in Uni3D. Sizes: B objects, T tokens of width D.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6
"""Epsilon of every layer norm."""


class FusedAttention(nn.Module):
    """Multi-head attention with one matrix for queries, keys and values (the tiny and small sizes)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])  # [3 · D]
        q, k, v = F.linear(x, self.qkv.weight, bias).chunk(3, -1)  # [B, T, D] each
        return self.proj(_attend(q, k, v, self.heads))


class SplitAttention(nn.Module):
    """Multi-head attention with separate matrices for queries, keys and values (the base and large sizes)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(_attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads))


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attend with queries, keys and values [B, T, D]: [B, T, D]."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))  # [B, heads, T, D / heads]
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class FusedSwiGLU(nn.Module):
    """out(silu(gate) · value), with gate and value from one matrix."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.fc1(x).chunk(2, -1)  # [B, T, hidden] each
        return self.fc2(F.silu(gate) * value)


class SplitSwiGLU(nn.Module):
    """out(norm(silu(gate) · value)), with gate and value from separate matrices."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(width, hidden)
        self.fc1_x = nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden, eps=EPS)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.norm(F.silu(self.fc1_g(x)) * self.fc1_x(x)))


class EvaBlock(nn.Module):
    """x + attn(norm1(x)), then x + mlp(norm2(x)).

    In training each branch is dropped for a whole object with probability ``drop_path``.
    """

    def __init__(self, width: int, heads: int, fused: bool, drop_path: float = 0.0) -> None:
        super().__init__()
        hidden = width * 8 // 3
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = FusedAttention(width, heads) if fused else SplitAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = FusedSwiGLU(width, hidden) if fused else SplitSwiGLU(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._dropped(self.attn(self.norm1(x)))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _dropped(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        # Scale the branches that are kept, so that the expectation stays the same.
        return branch * (torch.rand(len(branch), 1, 1, device=branch.device) < keep) / keep


class Visual(nn.Module):
    """Blocks and final norm, with the name they have in Uni3D's checkpoints."""

    def __init__(self, width: int, depth: int, heads: int, fused: bool, drop_path: float = 0.0) -> None:
        super().__init__()
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]  # deeper blocks are dropped more often
        self.blocks = nn.ModuleList(EvaBlock(width, heads, fused, rate) for rate in rates)
        self.fc_norm = nn.LayerNorm(width, eps=EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Run tokens [B, 1 + G, D] through all blocks; returns the first one, normalised: [B, D]."""
        for block in self.blocks:
            tokens = block(tokens)
        return self.fc_norm(tokens[:, 0])
