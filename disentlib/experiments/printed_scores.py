"""Table 3 of the IDGAN-SC paper against itself and against the paper that it quotes: no run of ours is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from disentlib.experiments.claims import Claim, claims
from disentlib.experiments.markup import Html, table
from disentlib.experiments.provenance import provenance

__all__ = ["PAPER", "SOURCE", "TABLE", "margins", "printed", "quotations", "selected"]

PAPER, TABLE = "idgan_sc", "table3"
SOURCE = "sources/lin2020infogancr"
_SELECTED = "table3"  # of the source: the same models after a selection without labels

Printed = Mapping[str, Mapping[str, Claim]]


def printed(paper: str = PAPER, name: str = TABLE) -> dict[str, dict[str, Claim]]:
    """A table of scores as printed: row → column → claim.

    >>> printed()["IDGAN-SC with β-VAE"]["MIG"].value
    0.42
    """
    found: dict[str, dict[str, Claim]] = {}
    for claim in claims(paper):
        if claim.table == name:
            found.setdefault(claim.row, {})[claim.column] = claim
    return found


def quotations() -> Html:
    """The quoted values that do not stand in the source as they stand in the quotation, and how many do."""
    source = printed(SOURCE, "table1")
    quoted = [claim for row in printed().values() for claim in row.values() if claim.quoted_from]
    pairs = [(claim, source[claim.row][claim.column]) for claim in quoted]
    lines = [
        [f"{claim.row}, {claim.column}", str(claim), str(original), _slip(claim, original)]
        for claim, original in pairs
        if str(claim) != str(original)
    ]
    caption = f"Quoted values that differ from their source: {len(lines)} of {len(quoted)}; the others agree"
    return table(["", "as quoted", "in the source", "what differs"], lines, caption) + _origin()


def margins() -> Html:
    """For each row that the paper ran itself and each score: the best quoted row, and the difference to it.

    The last column sets the difference against the larger of the two printed ±.
    """
    rows = printed()
    own = [row for row in rows if not any(claim.quoted_from for claim in rows[row].values())]
    lines = []
    for row in own:
        for column, claim in rows[row].items():
            best = max((rows[r][column] for r in rows if r not in own), key=lambda c: c.value)
            lines.append([row, column, str(claim), f"{best.row}, {best}", *_judged(claim, best)])
    head = ["", "score", "IDGAN-SC", "best quoted row", "difference", "so it is", "larger than both ±?"]
    return table(head, lines, "Is IDGAN-SC above every quoted row? By the paper's own numbers") + _origin()


def selected() -> Html:
    """IDGAN-SC's better row in each score, and what the quoted paper prints for a selection among its own models."""
    rows, ((name, others),) = printed(), printed(SOURCE, _SELECTED).items()
    lines = []
    for column, other in others.items():
        best = max((rows[r][column] for r in rows if not rows[r][column].quoted_from), key=lambda c: c.value)
        lines.append([column, str(best), str(other), f"{best.value - other.value:+.{best.decimals}f}"])
    head = ["score", "IDGAN-SC, better row", name, "difference"]
    return table(head, lines, "A row of the quoted paper that the table does not quote") + _origin()


def _slip(claim: Claim, original: Claim) -> str:
    if claim.value != original.value:
        return "the value"
    return "the ±" if original.std is not None else "a ± where the source prints none"


def _judged(claim: Claim, best: Claim) -> list[str]:
    difference, spread = claim.value - best.value, max(claim.std or 0.0, best.std or 0.0)
    places = claim.decimals
    kind = "above" if round(difference, places) > 0 else "below" if round(difference, places) < 0 else "equal"
    clear = round(abs(difference), places) > round(spread, places)
    return [f"{difference:+.{places}f}", _marked(kind), "yes" if clear else "no"]


def _marked(kind: str) -> str:
    return f'<span class="verdict-{"inside" if kind == "above" else "below"}">{kind}</span>'


def _origin(files: Sequence[str] = (PAPER, SOURCE)) -> Html:
    return provenance([], f"computed on this page from {', '.join(f'book/claims/{name}.yml' for name in files)}")
