"""The layers of Glow (Kingma & Dhariwal 2018): one step of a flow, and the convolution that begins at zero.

A step is activation normalisation, an invertible 1×1 convolution and a coupling; the first two are one affine map of
the channels and are computed as one. It stays in full precision under autocast, as an inverse needs; only the
networks inside couplings are lowered. Log-determinants are in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["COUPLINGS", "ActNorm", "Coupling", "FlowStep", "InvertibleConv", "ZeroConv"]

COUPLINGS = ("affine", "additive")
SCALE_SHIFT = 2.0  # an affine coupling begins with a scale of sigmoid(2) = 0.88
GAIN_RATE = 3.0  # the gains of zero-initialised convolutions are exp(3·parameter), to be learned faster


class ActNorm(nn.Module):
    """`y = exp(log_scale)·(x + loc)` for each channel; `initialise` makes y of one batch white."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Mean 0 and variance 1 of each channel of `x`, `[n, c, h, w]`, over batch and space."""
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        self.loc.copy_(-mean)
        self.log_scale.copy_(-torch.log(variance.sqrt() + 1e-6))


class InvertibleConv(nn.Module):
    """`W = P·L·(U + diag(sign·exp(log_diagonal)))` on the channels, begun as a random rotation (their eq. 10).

    P and the signs are fixed, so that W can neither become singular nor change the sign of its determinant.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))[0]
        permutation, lower, upper = (part.float() for part in torch.linalg.lu(rotation))
        self.lower, self.upper = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", upper.diagonal().sign())

    def weight(self) -> Tensor:
        """W, `[c, c]`."""
        lower = self.lower.tril(-1) + torch.eye(len(self.sign), dtype=self.lower.dtype, device=self.lower.device)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())
        return self.permutation @ (lower @ upper)


class ZeroConv(nn.Module):
    """A 3×3 convolution whose weights, biases and log-gains begin at zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(outputs, inputs, 3, 3)), nn.Parameter(torch.zeros(outputs))
        self.gain = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        gain = torch.exp(GAIN_RATE * self.gain)  # on the weights: cheaper than on the map
        return F.conv2d(x, self.weight * gain[:, None, None, None], self.bias * gain, padding=1)


class Coupling(nn.Module):
    """The first half of the channels moves the second: `y₂ = (x₂ + shift)·sigmoid(raw + 2)`, or `x₂ + shift`.

    `kind`: "affine" or "additive". Begins as a scaling of `x₂` by sigmoid(2), or as the identity.
    """

    def __init__(self, channels: int, width: int, kind: str) -> None:
        super().__init__()
        if kind not in COUPLINGS:
            raise ValueError(f"unknown coupling {kind!r}; known: {', '.join(COUPLINGS)}")
        half = _half(channels)
        self.affine = kind == "affine"
        first, second = nn.Conv2d(half, width, 3, padding=1), nn.Conv2d(width, width, 1)
        for conv in (first, second):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        last = ZeroConv(width, channels if self.affine else half)
        self.net = nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, c, h, w]` → the same shape, and the log-determinants `[n]`."""
        kept, moved = x.chunk(2, 1)
        shift, log_scale = self._shift(kept)
        if log_scale is None:
            return torch.cat([kept, moved + shift], 1), x.new_zeros(len(x))
        return torch.cat([kept, (moved + shift) * log_scale.exp()], 1), log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        kept, moved = y.chunk(2, 1)
        shift, log_scale = self._shift(kept)
        return torch.cat([kept, (moved if log_scale is None else moved * torch.exp(-log_scale)) - shift], 1)

    def _shift(self, kept: Tensor) -> tuple[Tensor, Tensor | None]:
        out = self.net(kept).to(kept.dtype)
        if not self.affine:
            return out, None
        shift, raw = out.chunk(2, 1)
        return shift, F.logsigmoid(raw + SCALE_SHIFT)


class FlowStep(nn.Module):
    """Activation normalisation and 1×1 convolution as one map of the channels, then a coupling (paper, figure 5)."""

    def __init__(self, channels: int, width: int, coupling: str) -> None:
        super().__init__()
        self.actnorm, self.mixing = ActNorm(channels), InvertibleConv(channels)
        self.coupling = Coupling(channels, width, coupling)
        self._cached: dict[bool, tuple[tuple, tuple[Tensor, Tensor]]] = {}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[n, c, h, w]` → the same shape, and the log-determinants `[n]`."""
        y, change = self.coupling(_pointwise(x, *self._map(inverse=False)))
        each = self.actnorm.log_scale.sum() + self.mixing.log_diagonal.sum()  # at every place of the map
        return y, change + x.shape[2] * x.shape[3] * each

    def inverse(self, y: Tensor) -> Tensor:
        return _pointwise(self.coupling.inverse(y), *self._map(inverse=True))

    def initialise(self, x: Tensor) -> Tensor:
        """Set the activation normalisation to `x` and pass it on."""
        self.actnorm.initialise(x)
        return self(x)[0]

    def linear(self) -> Tensor:
        """The matrix of the linear map of this step's reverse pass, `[c, c]`: `diag(1/scale)·W⁻¹`."""
        return self._map(inverse=True)[0]

    def _map(self, inverse: bool) -> tuple[Tensor, Tensor]:
        """Weight `[c, c]` and bias `[c]`, kept from call to call while the parameters are frozen."""
        weights = [*self.actnorm.parameters(), *self.mixing.parameters()]
        if any(weight.requires_grad for weight in weights):
            self._cached.clear()  # what follows may be an update, and the fused Adam counts no versions up
            return self._computed(inverse)
        state = tuple((weight.data_ptr(), weight._version) for weight in weights)  # load_state_dict counts up
        if inverse not in self._cached or self._cached[inverse][0] != state:
            with torch.inference_mode(False), torch.no_grad():  # else autograd could not use it later
                self._cached[inverse] = state, self._computed(inverse)
        return self._cached[inverse][1]

    def _computed(self, inverse: bool) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.actnorm.loc.device.type, enabled=False):
            scale, weight = self.actnorm.log_scale.exp(), self.mixing.weight()
            if inverse:  # in float64, so that a round trip loses nothing here
                return torch.linalg.inv((weight * scale).double()).to(weight.dtype), -self.actnorm.loc
            return weight * scale, weight @ (scale * self.actnorm.loc)


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, weight[:, :, None, None], bias)


def _half(channels: int) -> int:
    if channels < 2 or channels % 2:
        raise ValueError(f"only an even number of channels can be halved, got {channels}")
    return channels // 2
