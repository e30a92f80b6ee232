"""Networks on codes."""

from __future__ import annotations

from torch import nn

from disentlib.networks.convolutional import check_code_dims

__all__ = ["LatentDiscriminator"]


class LatentDiscriminator(nn.Sequential):
    """Codes `[n, d]` → one logit each, `[n]`: FactorVAE's MLP (Kim & Mnih 2018) with a single output (reading G7)."""

    def __init__(self, code_dims: int, width: int = 1000, hidden_layers: int = 5) -> None:
        check_code_dims(code_dims)
        if width < 1 or hidden_layers < 1:
            raise ValueError(
                f"a discriminator needs width and hidden_layers of at least 1, got {width}, {hidden_layers}"
            )
        sizes = (code_dims, *[width] * hidden_layers)
        hidden = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
        super().__init__(*hidden, nn.Linear(width, 1), nn.Flatten(0))
