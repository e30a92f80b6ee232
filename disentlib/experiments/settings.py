"""From a notebook's parameters to the specs of its trainings, in one place for all chapters of a family."""

from __future__ import annotations

from types import SimpleNamespace

from disentlib.experiments.runs import Spec
from disentlib.models import hyperparameters

__all__ = ["LIKELIHOOD", "vae_spec"]

# Reading G4: summed squared error for CelebA, whose printed errors can be nothing else; Bernoulli nats for black and
# white. For chairs nothing is printed: with a squared error short runs never leave the empty code, so Bernoulli.
LIKELIHOOD = {"celeba": "squared_error", "dsprites": "bernoulli", "mnist": "bernoulli", "chairs": "bernoulli"}


def vae_spec(p: SimpleNamespace, dataset: str, model: str, **changed: object) -> Spec:
    """The spec of one model of the VAE family under the parameters `p` of a notebook.

    Each hyper-parameter comes from `changed`, else from `p`, else from the model; so do the spec's own fields.
    """
    given = {"likelihood": LIKELIHOOD[dataset], **vars(p), **changed}
    hyper = {name: given.get(name, default) for name, default in hyperparameters(model).items() if name != "seed"}
    return Spec(
        dataset=dataset,
        model=model,
        profile=given["profile"],
        seed=given["seed"],
        hyper=hyper,
        source=given["source"],
        image_size=given["image_size"],
        train_size=given["train_size"],
        steps=given["steps"],
        batch_size=given["batch_size"],
        precision=given["precision"],
        eval_points=given["eval_points"],
    )
