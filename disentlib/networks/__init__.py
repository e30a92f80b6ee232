"""Networks as plain modules: layer tables, no training.

Every image enters in [0, 1] and every decoder answers in logits; a sigmoid belongs to the likelihood.
"""

from __future__ import annotations

from disentlib.networks.convolutional import CHANNELS, ConvDecoder, ConvEncoder, GaussianEncoder, Trunk, trunk_of
from disentlib.networks.distillation import (
    BottleneckDiscriminator,
    BottleneckGenerator,
    NoiseEncoder,
    NoiseReconstructor,
    PlainDiscriminator,
    PlainGenerator,
)
from disentlib.networks.flow import Flow
from disentlib.networks.gan import PAIR_NETWORKS, Generator, PairNetwork, SharedDiscriminator
from disentlib.networks.latent import LatentDiscriminator
from disentlib.networks.navigation import COLUMNS, DiscoEncoder, Navigator, Reconstructor, orthonormal_columns
from disentlib.networks.seeding import seeded

__all__ = [
    "BottleneckDiscriminator",
    "BottleneckGenerator",
    "CHANNELS",
    "COLUMNS",
    "ConvDecoder",
    "ConvEncoder",
    "DiscoEncoder",
    "Flow",
    "GaussianEncoder",
    "Generator",
    "LatentDiscriminator",
    "NoiseEncoder",
    "NoiseReconstructor",
    "PlainDiscriminator",
    "PlainGenerator",
    "PAIR_NETWORKS",
    "PairNetwork",
    "SharedDiscriminator",
    "Navigator",
    "Reconstructor",
    "Trunk",
    "orthonormal_columns",
    "seeded",
    "trunk_of",
]
