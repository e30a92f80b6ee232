"""Losses against torch.distributions, Monte Carlo and formulas written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F

from disentlib.losses import adversarial, elbo

pytestmark = pytest.mark.usefixtures("one_thread")


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def posterior(n: int = 40, d: int = 6) -> tuple[Tensor, Tensor, Normal]:
    mean, logvar = 2 * noise(n, d), noise(n, d, seed=1)
    return mean, logvar, Normal(mean, (0.5 * logvar).exp())


PRIOR = Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))

# ---- KL ------------------------------------------------------------------------------------------------------------


def test_kl_is_that_of_torch_distributions() -> None:
    mean, logvar, q = posterior()
    torch.testing.assert_close(elbo.gaussian_kl(mean, logvar), kl_divergence(q, PRIOR).sum(1).mean())


def test_kl_is_the_mean_of_the_log_ratio_over_samples() -> None:
    mean, logvar, q = posterior(n=1)
    z = q.mean + q.stddev * noise(300_000, 6, seed=2)
    ratio = (q.log_prob(z) - PRIOR.log_prob(z)).sum(1)
    standard_error = ratio.std() / len(ratio) ** 0.5
    assert abs(elbo.gaussian_kl(mean, logvar) - ratio.mean()) < 4 * standard_error
    assert standard_error < 0.02


def test_kl_per_dimension_is_each_dimensions_own_and_sums_to_the_whole() -> None:
    mean, logvar, q = posterior()
    per_dimension = elbo.kl_per_dimension(mean, logvar)
    torch.testing.assert_close(per_dimension, kl_divergence(q, PRIOR).mean(0))
    torch.testing.assert_close(per_dimension.sum(), elbo.gaussian_kl(mean, logvar))


def test_kl_is_zero_at_the_prior_and_positive_elsewhere() -> None:
    zero = torch.zeros(1, 1)
    for mean, logvar in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1), (3.0, -9.0), (0.0, 9.0)):
        assert elbo.gaussian_kl(zero + mean, zero + logvar) > 1e-4
    assert elbo.gaussian_kl(zero, zero) == 0


# ---- samples -------------------------------------------------------------------------------------------------------


def test_samples_have_the_posteriors_mean_and_variance() -> None:
    n, mean, logvar = 200_000, torch.tensor([[-1.0, 0.0, 3.0]]), torch.tensor([[-2.0, 0.0, 1.0]])
    z = elbo.reparameterise(mean.expand(n, 3), logvar.expand(n, 3), torch.Generator().manual_seed(0))
    variance = logvar.exp()
    assert ((z.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
    assert ((z.var(0) / variance - 1).abs() < 5 * (2 / n) ** 0.5).all()
    correlations = torch.corrcoef(z.T) - torch.eye(3)
    assert (correlations.abs() < 5 / n**0.5).all()


def test_gradients_flow_through_a_sample() -> None:
    """dz/dμ = 1 and dz/d ln σ² = ½σε = ½(z − μ)."""
    mean, logvar, _ = posterior(3, 2)
    mean.requires_grad_(), logvar.requires_grad_()
    z = elbo.reparameterise(mean, logvar, torch.Generator().manual_seed(5))
    z.sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones_like(mean))
    torch.testing.assert_close(logvar.grad, 0.5 * (z - mean).detach())


def test_noise_comes_from_the_generator_alone() -> None:
    mean, logvar, _ = posterior()
    torch.manual_seed(1)
    first = elbo.reparameterise(mean, logvar, torch.Generator().manual_seed(3))
    torch.manual_seed(2)
    assert torch.equal(first, elbo.reparameterise(mean, logvar, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, elbo.reparameterise(mean, logvar, torch.Generator().manual_seed(4)))


# ---- reconstruction ------------------------------------------------------------------------------------------------


def test_bernoulli_is_that_of_torch_distributions() -> None:
    logits = 3 * noise(5, 3, 4, 4, dtype=torch.float32)
    images = (noise(5, 3, 4, 4, seed=1, dtype=torch.float32) > 0).float()
    expected = -Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3)).mean()
    torch.testing.assert_close(elbo.bernoulli_nll(logits, images), expected)


def test_bernoulli_of_grey_pixels_is_the_cross_entropy() -> None:
    logits, grey = 3 * noise(5, 1, 4, 4, dtype=torch.float32), noise(5, 1, 4, 4, seed=1, dtype=torch.float32).sigmoid()
    p = logits.double().sigmoid()
    expected = -(grey * p.log() + (1 - grey) * (1 - p).log()).sum() / 5
    torch.testing.assert_close(elbo.bernoulli_nll(logits, grey).double(), expected, rtol=1e-5, atol=0)


def test_squared_error_is_the_likelihood_of_a_gaussian_with_variance_one_half_up_to_its_constant() -> None:
    """−ln N(x; σ(l), ½) = (x − σ(l))² + ½ ln π for each pixel (reading G4)."""
    logits, images = noise(5, 3, 4, 4, dtype=torch.float32), noise(5, 3, 4, 4, seed=1, dtype=torch.float32).sigmoid()
    whole = -Normal(logits.sigmoid(), 0.5**0.5).log_prob(images).sum((1, 2, 3)).mean()
    torch.testing.assert_close(elbo.squared_error(logits, images), whole - 48 * 0.5 * math.log(math.pi))


@pytest.mark.parametrize("name", elbo.LIKELIHOODS)
def test_reconstruction_sums_over_pixels_and_averages_over_images(name: str) -> None:
    logits, images = noise(4, 1, 4, 4, dtype=torch.float32), noise(4, 1, 4, 4, seed=1, dtype=torch.float32).sigmoid()
    once = elbo.reconstruction(name, logits, images)
    torch.testing.assert_close(elbo.reconstruction(name, logits.repeat(3, 1, 1, 1), images.repeat(3, 1, 1, 1)), once)
    wider = elbo.reconstruction(name, logits.repeat(1, 1, 1, 3), images.repeat(1, 1, 1, 3))
    torch.testing.assert_close(wider, 3 * once)
    each = [elbo.reconstruction(name, logits[i : i + 1], images[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(torch.stack(each).mean(), once)


def test_reconstruction_is_finite_for_a_sure_and_wrong_decoder() -> None:
    logits, images = torch.tensor([[[[1e4, -1e4]]]]), torch.tensor([[[[0.0, 1.0]]]])
    assert elbo.bernoulli_nll(logits, images).item() == pytest.approx(2e4)
    assert elbo.squared_error(logits, images).item() == pytest.approx(2.0)


def test_an_unknown_likelihood_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'laplace'.*bernoulli, squared_error"):
        elbo.reconstruction("laplace", torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))


def test_with_beta_one_the_loss_is_the_negative_elbo() -> None:
    """Against `ln p(x|z) + ln p(z) − ln q(z|x)` averaged over many samples of z: one image, a linear decoder."""
    mean, logvar = torch.tensor([[0.5, -1.0]]), torch.tensor([[-1.0, 0.3]])
    weight, image = noise(2, 9, seed=3, dtype=torch.float32), (noise(1, 9, seed=4) > 0).float()
    n = 100_000
    z = elbo.reparameterise(mean.expand(n, 2), logvar.expand(n, 2), torch.Generator().manual_seed(0))
    log_likelihood = Bernoulli(logits=z @ weight).log_prob(image).sum(1)
    q, prior = Normal(mean, (0.5 * logvar).exp()).log_prob(z).sum(1), Normal(0.0, 1.0).log_prob(z).sum(1)
    elbo_samples = log_likelihood + prior - q
    ours = elbo.beta_elbo_loss(
        elbo.bernoulli_nll((z @ weight)[:, None, None], image.expand(n, 9)[:, None, None]),
        elbo.gaussian_kl(mean, logvar),
        beta=1.0,
    )
    assert abs(ours + elbo_samples.mean()) < 5 * elbo_samples.std() / n**0.5


# ---- adversarial ---------------------------------------------------------------------------------------------------


def test_discriminator_loss_is_binary_cross_entropy_with_real_labelled_one() -> None:
    real, fake = 3 * noise(7, dtype=torch.float32), 3 * noise(7, seed=1, dtype=torch.float32)
    logits, labels = torch.cat([real, fake]), torch.cat([torch.ones(7), torch.zeros(7)])
    expected = 2 * F.binary_cross_entropy_with_logits(logits, labels)  # a mean over both halves
    torch.testing.assert_close(adversarial.discriminator_loss(real, fake), expected)


def test_equal_distributions_cost_the_best_discriminator_two_ln_two() -> None:
    for shift in torch.linspace(-2, 2, 41).tolist():
        logits = torch.full((8,), shift)
        loss = adversarial.discriminator_loss(logits, logits).item()
        assert loss > 2 * math.log(2) + 1e-6 or abs(shift) < 1e-6
    assert adversarial.discriminator_loss(torch.zeros(8), torch.zeros(8)).item() == pytest.approx(2 * math.log(2))


def test_the_density_ratio_is_the_best_discriminator() -> None:
    """Of p = N(0, 1) and q = N(1, 1): logit ln p/q = ½ − z pays 2 ln 2 − 2 JSD; any other line pays more."""
    prior, codes = noise(200_000, seed=8), 1 + noise(200_000, seed=9)

    def pays(offset: float, slope: float) -> float:
        return adversarial.discriminator_loss(offset + slope * prior, offset + slope * codes).item()

    z = torch.linspace(-12, 13, 20_001, dtype=torch.float64)
    p, q = PRIOR.log_prob(z).exp(), PRIOR.log_prob(z - 1).exp()
    divergence = 0.5 * torch.trapezoid(p * (2 * p / (p + q)).log() + q * (2 * q / (p + q)).log(), z).item()
    best = pays(0.5, -1.0)
    assert best == pytest.approx(2 * math.log(2) - 2 * divergence, abs=0.01)
    assert all(pays(0.5 + a, -1.0 + b) > best + 0.002 for a, b in ((0.2, 0), (-0.2, 0), (0, 0.2), (0, -0.2)))


FORMULAS = {
    "probability": (lambda d: d, lambda d: d * (1 - d)),
    "log": (lambda d: d.log(), lambda d: 1 - d),
    "logit": (lambda d: d.log() - (1 - d).log(), lambda d: torch.ones_like(d)),
}


@pytest.mark.parametrize("form", adversarial.ADVERSARIAL_TERMS)
def test_adversarial_term_and_its_pull_per_logit(form: str) -> None:
    value, pull = FORMULAS[form]
    logits = torch.linspace(-6, 6, 25, requires_grad=True)
    probability = logits.detach().double().sigmoid()
    term = adversarial.adversarial_term(logits, form)
    term.backward()
    torch.testing.assert_close(term.double(), value(probability).mean(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(25 * logits.grad.double(), pull(probability), rtol=1e-4, atol=1e-7)


def test_the_printed_pull_is_at_most_a_quarter_and_vanishes_when_d_is_sure() -> None:
    logits = torch.linspace(-30, 30, 2001, requires_grad=True)
    adversarial.adversarial_term(logits, "probability").backward()
    pulls = 2001 * logits.grad
    assert pulls.max().item() == pytest.approx(0.25) and pulls[0] < 1e-9 and pulls[-1] < 1e-9


def test_adversarial_losses_stay_finite_for_a_sure_discriminator() -> None:
    sure = torch.tensor([-1e4, 1e4])
    assert adversarial.discriminator_loss(sure, sure).isfinite()
    assert all(adversarial.adversarial_term(sure, form).isfinite() for form in adversarial.ADVERSARIAL_TERMS)


def test_an_unknown_form_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'hinge'.*probability, log, logit"):
        adversarial.adversarial_term(torch.zeros(2), "hinge")
