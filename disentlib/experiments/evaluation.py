"""What is measured on every trained model: the same fixed points for all models of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from disentlib import metrics
from disentlib.data import Dataset
from disentlib.losses import elbo
from disentlib.metrics.mig import entropies, mutual_information
from disentlib.metrics.votes import Encode
from disentlib.models import Model

__all__ = [
    "SCORES",
    "check_scores",
    "encoded",
    "evaluate",
    "evaluation_points",
    "informed",
    "lacking",
    "posterior_table",
    "row_labels",
    "score",
]

EVALUATION_SEED = 1_000_003  # not a seed of any training
PRIOR_SEED = 1_000_033  # another one: prior samples must not share their noise with the posterior samples
VERSION = 2  # of what `evaluate` computes; records of an earlier one are evaluated again, not trained again
ACTIVE_NATS = 0.1  # a dimension with less KL than this carries nothing worth a name
KNOWN_SHARE = 0.05  # a dimension that knows less of every factor than this is not named after one
# The study's protocol, but for the trees behind DCI: its own take some five minutes a model, these some seconds.
SCORE_PROTOCOL = replace(metrics.LOCATELLO, dci_estimator="lightgbm")
# What the names of a protocol's scores begin with, so that no record and no table mixes two (reading S17).
PROTOCOLS = {"": SCORE_PROTOCOL, "infogan_cr_": metrics.INFOGAN_CR}
REPEATED = "factor_vae_evaluations"  # the FactorVAE metric, with other votes each time: a list
REPEATS = 10  # as the IDGAN-SC paper has it (§3.1)
# Scores that take longer: computed only where a notebook asks for them. The study's MIG is in every record anyway.
SCORES = (
    *("beta_vae", "factor_vae", "sap", "dci", REPEATED),
    *(f"infogan_cr_{name}" for name in ("beta_vae", "factor_vae", "mig", "sap", "dci", REPEATED)),
)
_MANY_IMAGES = ("beta_vae", "factor_vae", REPEATED, f"infogan_cr_{REPEATED}")  # these look at most of a grid, or at all
MEASURED = 1000  # of the evaluation points: what a model's own measurements look at
_CHUNK = 250


@lru_cache(maxsize=4)
def evaluation_points(dataset: Dataset, n: int) -> tuple[Tensor, Tensor]:
    """`n` indices drawn with replacement from a fixed generator, int64 `[n]`; their images, uint8 `[n, c, h, w]`."""
    generator = torch.Generator().manual_seed(EVALUATION_SEED)
    indices = torch.randint(len(dataset), (n,), generator=generator)
    return indices, torch.cat([dataset.bytes(chunk) for chunk in indices.split(1000)])


@torch.no_grad()
def posterior_table(model: Model, images: Tensor, device: torch.device) -> dict[str, Tensor]:
    """One pass over uint8 images `[n, c, h, w]`: `mean`, `logvar`, a sample `codes` (`[n, d]`), and `reconstruction`.

    The reconstruction error is that of the bound: from a posterior sample, nats or squared error per image.
    """
    generator = torch.Generator(device).manual_seed(EVALUATION_SEED)
    parts: dict[str, list[Tensor]] = {"mean": [], "logvar": [], "codes": [], "reconstruction": []}
    for chunk in images.split(_CHUNK):
        batch = chunk.to(device).float() / 255
        mean, logvar = model.posterior(batch)
        codes = elbo.reparameterise(mean, logvar, generator)
        likelihood = model.autoencoder.likelihood
        error = elbo.reconstruction(likelihood, model.autoencoder.decoder(codes), batch) * len(batch) / len(images)
        for name, value in zip(parts, (mean, logvar, codes, error[None])):
            parts[name].append(value.cpu())
    table = {name: torch.cat(values) for name, values in parts.items()}
    return table | {"reconstruction": table["reconstruction"].sum()}


def evaluate(model: Model, dataset: Dataset, n: int, device: torch.device) -> dict[str, object]:
    """What every record holds of a trained model: MIG, what its posterior tells, and what the model itself measures.

    MIG only where the data set has factors, under protocol LOCATELLO (but for the number of points, if `n` differs).
    A model with a posterior also has reconstruction error, KL (whole and per dimension), active dimensions, and the AUC
    of its codes against the prior.
    """
    indices, images = evaluation_points(dataset, n)
    result: dict[str, object] = {"evaluation_version": VERSION}
    if hasattr(model, "posterior"):
        table = posterior_table(model, images, device)
        codes, result = table["mean"], result | _posterior_values(table, n)
    else:
        codes = encoded(model, images, device)
    if dataset.grid is not None:
        protocol = replace(metrics.LOCATELLO, train_points=n)
        value = metrics.mig(codes.numpy(), dataset.factors(indices).numpy(), protocol=protocol)
        result["mig"] = round(value, 4)
    generator = torch.Generator(device).manual_seed(EVALUATION_SEED)
    return result | _rounded(model.measure(images[:MEASURED].to(device).float() / 255, generator))


@torch.no_grad()
def encoded(model: Model, images: Tensor, device: torch.device) -> Tensor:
    """uint8 images `[n, c, h, w]` → codes float32 `[n, d]` on the CPU, chunk by chunk."""
    return torch.cat([model.encode(chunk.to(device).float() / 255).float().cpu() for chunk in images.split(_CHUNK)])


def _posterior_values(table: dict[str, Tensor], n: int) -> dict[str, object]:
    kl = elbo.kl_per_dimension(table["mean"], table["logvar"])
    prior = torch.randn(table["codes"].shape, generator=torch.Generator().manual_seed(PRIOR_SEED))
    half = slice(0, min(n, 5000))
    return {
        "reconstruction": round(table["reconstruction"].item(), 4),
        "kl": round(kl.sum().item(), 4),
        "kl_per_dimension": [round(v, 4) for v in kl.tolist()],
        "active_dimensions": metrics.active_dimensions(kl.numpy(), ACTIVE_NATS),
        "prior_auc": round(metrics.two_sample_auc(prior[half].numpy(), table["codes"][half].numpy(), seed=0), 4),
    }


def _rounded(values: Mapping[str, float | list[float]]) -> dict[str, object]:
    return {k: [round(x, 4) for x in v] if isinstance(v, list) else round(float(v), 4) for k, v in values.items()}


def informed(model: Model, dataset: Dataset, n: int) -> np.ndarray:
    """How much each code dimension knows about each factor: `I(z_i; v_j) / H(v_j)`, `[d, k]`, in [0, 1]."""
    indices, images = evaluation_points(dataset, n)
    codes = encoded(model, images, next(model.parameters()).device)
    factors = dataset.factors(indices).numpy()
    information = mutual_information(codes.numpy(), factors, metrics.LOCATELLO.bins)
    return information / entropies(factors)


def row_labels(
    kl: Sequence[float] | None, dimensions: Sequence[int], dataset: Dataset, known: np.ndarray | None
) -> list[str]:
    """A label for each row of a traversal: the dimension, its nats, and the factor it knows most about, if any.

    `kl` is None for a model without a posterior. `known` is what `informed` gives, or None where the data set has no
    factors.
    """
    labels = []
    for d in dimensions:
        label = f"z{d} {kl[d]:.1f}" if kl else f"c{d}"
        # A switched-off dimension's mean still wavers a little with the image, but the noise around it drowns that.
        if known is not None and (kl is None or kl[d] > ACTIVE_NATS) and known[d].max() >= KNOWN_SHARE:
            best = int(known[d].argmax())
            label += f"\n{dataset.factor_names[best].replace('_', ' ')} {known[d, best]:.0%}"
        labels.append(label)
    return labels


def check_scores(names: Sequence[str]) -> None:
    """ValueError for a name that is not in `SCORES`."""
    unknown = sorted(set(names) - set(SCORES))
    if unknown:
        raise ValueError(f"unknown metric {', '.join(unknown)}; known: {', '.join(SCORES)}")


def lacking(found: Mapping[str, object], names: Sequence[str]) -> list[str]:
    """The scores among `names` that a record's metrics have not got."""
    return [name for name in names if name not in found and f"{name}_disentanglement" not in found]


@torch.no_grad()
def score(model: Model, dataset: Dataset, names: Sequence[str]) -> dict[str, object]:
    """The named scores of a trained model; LookupError where the data set has no factors.

    A name that begins with `infogan_cr_` is under that protocol, any other under `SCORE_PROTOCOL`. `REPEATED` is a list
    of `REPEATS` evaluations.
    """
    check_scores(names)
    device, found = next(model.parameters()).device, {}

    def encode(images: Tensor) -> Tensor:
        return model.encode(images.to(device))

    if set(names) & set(_MANY_IMAGES):
        dataset, encode = coded(dataset, encode), _itself
    for prefix, protocol in PROTOCOLS.items():
        own = [name.removeprefix(prefix) for name in names if _prefix(name) == prefix]
        if own:
            found |= {f"{prefix}{k}": v for k, v in _scores(dataset, encode, own, protocol).items()}
    return _rounded(found)


@dataclass(frozen=True, eq=False)
class Coded(Dataset):
    """A data set whose images are their codes, `[count, d]`, so that several evaluations encode each image once."""

    codes: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)

    def images(self, indices: Tensor, device: torch.device | str | None = None) -> Tensor:
        return self.codes[indices]


def coded(dataset: Dataset, encode: Encode) -> Coded:
    """The data set with every image encoded."""
    chunks = torch.arange(len(dataset)).split(1024)
    codes = torch.cat([encode(dataset.images(chunk)).float().cpu() for chunk in chunks])
    return Coded(**{f.name: getattr(dataset, f.name) for f in fields(Dataset)}, codes=codes)


def _itself(codes: Tensor) -> Tensor:
    return codes


def _prefix(name: str) -> str:
    return next(prefix for prefix in sorted(PROTOCOLS, key=len, reverse=True) if name.startswith(prefix))


def _scores(dataset: Dataset, encode: Encode, names: Sequence[str], protocol: metrics.Protocol) -> dict[str, object]:
    found = metrics.evaluate(
        dataset,
        encode,
        protocol=protocol,
        generator=torch.Generator().manual_seed(EVALUATION_SEED),
        scores=[name for name in names if name != REPEATED],
        workers=torch.get_num_threads(),
    )
    return found | ({REPEATED: _repeated(dataset, encode, protocol)} if REPEATED in names else {})


def _repeated(dataset: Dataset, encode: Encode, protocol: metrics.Protocol) -> list[float]:
    """The FactorVAE metric of one model under other votes each time."""
    generators = [torch.Generator().manual_seed(EVALUATION_SEED + repeat) for repeat in range(REPEATS)]
    return [metrics.factor_vae(dataset, encode, protocol=protocol, generator=g) for g in generators]
