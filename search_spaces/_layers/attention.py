"""Multi-head self-attention whose heads and head dimensions can be taken out for good."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Self-attention with one fused projection; its rows are [q heads][k heads][v heads].

    ``scale_dim`` is the head dimension that the network was trained with. A cut network keeps it,
    so that fewer dimensions a head do not also make every attention map sharper.
    """

    def __init__(self, embed: int, heads: int, head_dim: int, scale_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim
        self.scale = scale_dim**-0.5
        self.qkv = nn.Linear(embed, 3 * heads * head_dim)
        self.proj = nn.Linear(heads * head_dim, embed)

    def start_by_similarity(self, gain: float = 0.8) -> None:
        """Fresh weights with which tokens attend to tokens that look like them.

        Queries and keys start as the same orthogonal projection (Trockman & Kolter, 2023), so that
        finding the template in the search crop need not be discovered from noise.
        """
        writes = self.heads * self.head_dim
        with torch.no_grad():
            for head in range(self.heads):
                rows = slice(head * self.head_dim, (head + 1) * self.head_dim)
                same = torch.empty(self.head_dim, self.qkv.in_features)
                nn.init.orthogonal_(same, gain)
                self.qkv.weight[:writes][rows] = same
                self.qkv.weight[writes : 2 * writes][rows] = same
        nn.init.xavier_uniform_(self.qkv.weight[2 * writes :])
        nn.init.xavier_uniform_(self.proj.weight)

    def forward(self, x: Tensor, watched: int | None = None) -> tuple[Tensor, Tensor | None]:
        """What the tokens (batch, n, embed) become, and how token ``watched`` attends to all n."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, self.head_dim))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (batch, heads, n, head_dim)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        out = self.proj(mixed.transpose(1, 2).flatten(2))
        if watched is None:
            return out, None
        row = (q[:, :, watched : watched + 1] @ k.transpose(-2, -1) * self.scale).softmax(-1)
        return out, row.squeeze(2).mean(1)

    def keep_heads(self, indices: Sequence[int]) -> None:
        """Only these heads stay."""
        self._keep_units(self._numbered()[:, _within(indices, self.heads)])

    def keep_head_dims(self, indices_per_head: Sequence[Sequence[int]]) -> None:
        """In each head only these dimensions stay, the same number in every head."""
        if len(indices_per_head) != self.heads or len({len(i) for i in indices_per_head}) != 1:
            raise ValueError(
                f"expected {self.heads} lists of equal length, one a head, got {indices_per_head}"
            )
        kept = torch.tensor([_within(indices, self.head_dim) for indices in indices_per_head])
        self._keep_units(self._numbered().gather(2, kept.expand(3, -1, -1)))

    def keep_inputs(self, indices: Sequence[int]) -> None:
        """Only these channels of the tokens come in."""
        _keep_columns(self.qkv, torch.tensor(_within(indices, self.qkv.in_features)))

    def keep_outputs(self, indices: Sequence[int]) -> None:
        """Only these channels of the tokens go out."""
        _keep_rows(self.proj, torch.tensor(_within(indices, self.proj.out_features)))

    def _numbered(self) -> Tensor:
        """The rows of the fused projection as (3, heads, head_dim)."""
        count = 3 * self.heads * self.head_dim
        return torch.arange(count).view(3, self.heads, self.head_dim)

    def _keep_units(self, rows: Tensor) -> None:
        _keep_rows(self.qkv, rows.flatten())
        _keep_columns(self.proj, rows[0].flatten())
        self.heads, self.head_dim = rows.shape[1:]


def _within(indices: Sequence[int], width: int) -> list[int]:
    if not indices or len(set(indices)) != len(indices) or not set(indices) <= set(range(width)):
        raise ValueError(f"expected different indices below {width}, at least one, got {indices}")
    return list(indices)


def _keep_rows(layer: nn.Linear, rows: Tensor) -> None:
    layer.weight = _sliced(layer.weight, 0, rows)
    layer.bias = _sliced(layer.bias, 0, rows)
    layer.out_features = len(rows)


def _keep_columns(layer: nn.Linear, columns: Tensor) -> None:
    layer.weight = _sliced(layer.weight, 1, columns)
    layer.in_features = len(columns)


def _sliced(parameter: Tensor, dim: int, indices: Tensor) -> nn.Parameter:
    kept = parameter.detach().index_select(dim, indices.to(parameter.device))
    return nn.Parameter(kept, requires_grad=parameter.requires_grad)
