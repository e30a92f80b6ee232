"""Second phases of a GAN that branch from one first phase: whether anything collapsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from disentlib.experiments.markup import Html, table
from disentlib.experiments.pair_learning import COLLAPSED
from disentlib.experiments.provenance import provenance
from disentlib.experiments.records import Record
from disentlib.experiments.statistics import bootstrap

__all__ = ["LEAST", "gan_collapsed", "pair_network_collapsed", "signs"]

LEAST = 0.25  # share of the data's variety, or of its brightness, below which pictures count as all alike or as empty


def pair_network_collapsed(record: Record) -> bool | None:
    """Whether E gives pairs of different classes one and the same representation; None where it has another head."""
    return record.metrics["between_cosine"] >= COLLAPSED if record.spec["hyper"].get("head") == "supcon" else None


def gan_collapsed(record: Record) -> bool:
    """Whether the generator's pictures are nearly all alike, nearly empty, or nearly full."""
    variety, brightness = record.metrics["pixel_std_ratio"], record.metrics["foreground_ratio"]
    return variety < LEAST or not LEAST <= brightness <= 1 / LEAST


def signs(groups: Mapping[str, Sequence[Record]], caption: str) -> Html:
    """For each group how many runs collapsed, by the pair network's cosines and by the pictures, and those numbers."""
    lines = [[name, *_counts(records), *_signs(records)] for name, records in groups.items()]
    used = [record for records in groups.values() for record in records]
    head = ["", "seeds", "pair network collapsed", "pictures collapsed", "cosine of two classes",
            "neighbours that share the label", "variety (data: 1)", "brightness (data: 1)"]  # fmt: skip
    return table(head, lines, caption) + provenance(used)


def _counts(records: Sequence[Record]) -> list[str]:
    networks = [pair_network_collapsed(record) for record in records]
    judged = [network for network in networks if network is not None]
    return [str(len(records)), str(sum(judged)) if judged else "–", str(sum(map(gan_collapsed, records)))]


def _signs(records: Sequence[Record]) -> list[str]:
    names = ("between_cosine", "pair_accuracy", "pixel_std_ratio", "foreground_ratio")
    if not records:
        return ["not run"] * len(names)
    cells = {name: bootstrap([r.metrics[name] for r in records]).text(2) for name in names}
    if any(pair_network_collapsed(record) is None for record in records):  # cosines of logits mean little
        cells["between_cosine"] = "–"
    return list(cells.values())
