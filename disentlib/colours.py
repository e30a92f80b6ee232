"""One colour and one name for each method and each metric, through the whole book."""

from __future__ import annotations

__all__ = ["COLOURS", "LABELS", "METRIC_COLOURS", "METRIC_LABELS"]

# Okabe–Ito and, where that has no more, Tol: safe for the common kinds of colour blindness. One colour a method,
# through the whole book.
COLOURS = {
    "vae": "#0072B2",
    "beta_vae": "#E69F00",
    "beta_gvae": "#009E73",
    "factor_vae": "#CC79A7",
    "infogan": "#56B4E9",
    "infogan_cr": "#D55E00",
    "idgan_sc": "#332288",
    "idgan_sc_one": "#AA4499",
    "beta_tcvae": "#882255",
    "id_gan": "#44AA99",
    "ib_gan": "#999933",
    "glow": "#EE3377",
    "glow_additive": "#6699CC",
    "glow_standard": "#661100",
    "closed_form": "#88CCEE",
    "ganspace": "#DDCC77",
    "ganspace_data": "#EE8866",
    "deep_spectral": "#117733",
    "latent_discovery": "#CC6677",
    "random": "#8C8C8C",
    "dip_vae": "#BBCC33",
    "disco": "#225555",
    "dis_gu": "#CC3311",
    "paper": "#444444",
}
LABELS = {
    "vae": "VAE",
    "beta_vae": "β-VAE",
    "beta_gvae": "β-GVAE",
    "factor_vae": "FactorVAE",
    "infogan": "InfoGAN",
    "infogan_cr": "InfoGAN-CR",
    "idgan_sc": "IDGAN-SC",
    "idgan_sc_one": "IDGAN-SC,\none τ",
    "beta_tcvae": "β-TCVAE",
    "id_gan": "ID-GAN",
    "ib_gan": "IB-GAN",
    "glow": "Glow",
    "glow_additive": "Glow, additive",
    "glow_standard": "Glow, N(0, I)",
    "closed_form": "CF",
    "ganspace": "GS",
    "ganspace_data": "GS, data",
    "deep_spectral": "DS",
    "latent_discovery": "LD",
    "random": "random",
    "dip_vae": "DIP-VAE",
    "disco": "DisCo",
    "dis_gu": "Dis-GU",
    "paper": "paper",
}
# And one colour a metric. The two voting metrics bear the names of the models that came with them.
METRIC_COLOURS = {
    "beta_vae": "#E69F00",
    "factor_vae": "#CC79A7",
    "mig": "#0072B2",
    "sap": "#56B4E9",
    "dci_disentanglement": "#009E73",
    "dci_completeness": "#D55E00",
    "dci_informativeness": "#444444",
}
METRIC_LABELS = {
    "beta_vae": "β-VAE\nmetric",
    "factor_vae": "FactorVAE\nmetric",
    "mig": "MIG",
    "sap": "SAP",
    "dci_disentanglement": "DCI\ndisentangl.",
    "dci_completeness": "DCI\ncompleten.",
    "dci_informativeness": "DCI\ninformativ.",
}
