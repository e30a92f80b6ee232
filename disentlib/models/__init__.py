"""Models: one module each; `build` makes one by name."""

from __future__ import annotations

import inspect

from disentlib.models.base import Losses, Model
from disentlib.models.beta_gvae import BetaGVAE
from disentlib.models.beta_tcvae import BetaTCVAE
from disentlib.models.beta_vae import BetaVAE
from disentlib.models.closed_form import ClosedForm
from disentlib.models.deep_spectral import DeepSpectral
from disentlib.models.dip_vae import DIPVAE
from disentlib.models.directions import DirectionModel
from disentlib.models.dis_gu import DisGU
from disentlib.models.disco import DisCo
from disentlib.models.factor_vae import FactorVAE
from disentlib.models.ganspace import GANSpace
from disentlib.models.glow import Glow
from disentlib.models.ib_gan import IBGAN
from disentlib.models.id_gan import IDGAN
from disentlib.models.idgan_sc import IDGANSC
from disentlib.models.infogan import InfoGAN
from disentlib.models.infogan_cr import InfoGANCR
from disentlib.models.latent_discovery import LatentDiscovery
from disentlib.models.vae import VAE

__all__ = [
    "BetaGVAE",
    "BetaTCVAE",
    "BetaVAE",
    "DIPVAE",
    "FactorVAE",
    "IBGAN",
    "IDGAN",
    "IDGANSC",
    "InfoGAN",
    "InfoGANCR",
    "ClosedForm",
    "DeepSpectral",
    "DisCo",
    "DisGU",
    "GANSpace",
    "Glow",
    "LatentDiscovery",
    "Losses",
    "Model",
    "VAE",
    "build",
    "class_of",
    "hyperparameters",
    "names",
    "needs",
]

_MODELS: dict[str, type[Model]] = {
    "vae": VAE,
    "beta_vae": BetaVAE,
    "beta_gvae": BetaGVAE,
    "beta_tcvae": BetaTCVAE,
    "factor_vae": FactorVAE,
    "dip_vae": DIPVAE,
    "id_gan": IDGAN,
    "ib_gan": IBGAN,
    "infogan": InfoGAN,
    "infogan_cr": InfoGANCR,
    "idgan_sc": IDGANSC,
    "glow": Glow,
    "latent_discovery": LatentDiscovery,
    "closed_form": ClosedForm,
    "ganspace": GANSpace,
    "deep_spectral": DeepSpectral,
    "disco": DisCo,
    "dis_gu": DisGU,
}


def names() -> tuple[str, ...]:
    """The models that `build` knows."""
    return tuple(_MODELS)


def class_of(name: str) -> type[Model]:
    """The class of a model; ValueError for an unknown name."""
    if name not in _MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(_MODELS)}")
    return _MODELS[name]


def hyperparameters(name: str) -> dict[str, object]:
    """The hyper-parameters of a model and their defaults; ValueError for an unknown name.

    >>> hyperparameters("vae")
    {'code_dims': 10, 'likelihood': 'bernoulli', 'lr': 0.0001, 'seed': 0}
    """
    signature = inspect.signature(class_of(name).__init__)
    return {key: p.default for key, p in signature.parameters.items() if key not in ("self", "image_shape")}


def needs(name: str) -> tuple[str, ...]:
    """The roles that a model cannot take a step without; ValueError for an unknown name.

    >>> needs("id_gan"), needs("infogan_cr")
    (('stage1',), ())
    """
    model = class_of(name)
    return tuple(model.roles) if issubclass(model, (IDGAN, DirectionModel)) else ()


def build(name: str, image_shape: tuple[int, int, int], **hyper: object) -> Model:
    """The model `name` for images `(c, h, w)`; ValueError for an unknown name or hyper-parameter.

    >>> build("beta_vae", image_shape=(1, 32, 32), beta=4.0).code_dims
    10
    """
    known = hyperparameters(name)
    unknown = sorted(set(hyper) - set(known))
    if unknown:
        raise ValueError(f"{name} has no hyper-parameter {', '.join(unknown)}; it takes {', '.join(known)}")
    model = _MODELS[name](tuple(image_shape), **hyper)
    model.settings = {"model": name, **known, **hyper}
    return model
