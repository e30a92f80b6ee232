"""The papers' claims: the files are well formed, complete, and say what SPEC.md says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CLAIMS = ROOT / "book" / "claims"
SPEC = ROOT.parent / "shared" / "SPEC.md"

PAPERS = {"beta_gvae": "zhang2023betagvae", "idgan_sc": "chen2024idgansc", "dis_gu": "cai2024disgu"}
COUNTS = {
    "beta_gvae": {"table1": 2 * 7, "table2": 3 * 2},
    "idgan_sc": {"table3": 5 * 5, "figure3": 3},
    "dis_gu": {"table1": 27 * 4, "table2": 5 * 6},
}
REQUIRED = {"table", "row", "column", "value"}
OPTIONAL = {"std", "dataset", "quoted_from", "approximate"}
# Where each table stands in SPEC.md: the bold title that introduces it, and how many leading cells name a row.
SPEC_TABLES = {
    ("beta_gvae", "table1"): ("**Table 1 — choice of (β, γ)", 1),
    ("beta_gvae", "table2"): ("**Table 2 — CelebA**", 1),
    ("idgan_sc", "table3"): ("**Table 3 — dSprites", 1),
    ("dis_gu", "table1"): ("**Table 1 (mean ± std)**", 2),
    ("dis_gu", "table2"): ("**Table 2 — threshold T", 1),
}


def read(paper: str) -> dict:
    return yaml.safe_load((CLAIMS / f"{paper}.yml").read_text(encoding="utf-8"))


def key(claim: dict) -> tuple:
    return claim["table"], claim.get("dataset"), claim["row"], claim["column"]


def test_there_is_one_file_for_each_paper():
    assert sorted(path.stem for path in CLAIMS.glob("*.yml")) == sorted(PAPERS)


@pytest.mark.parametrize("paper", PAPERS)
def test_head_names_the_paper_and_its_tables(paper):
    content = read(paper)
    assert set(content) == {"paper", "title", "tables", "claims"}
    assert content["paper"] == PAPERS[paper]
    assert set(content["tables"]) == set(COUNTS[paper])
    for about in content["tables"].values():
        assert about["caption"] and about["unit"]
        assert isinstance(about["lower_is_better"], bool) and isinstance(about["decimals"], int)


@pytest.mark.parametrize("paper", PAPERS)
def test_bibliography_has_the_papers_key(paper):
    keys = re.findall(r"^@\w+\{([^,\s]+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.M)
    quoted = {claim["quoted_from"] for claim in read(paper)["claims"] if "quoted_from" in claim}
    assert {PAPERS[paper], *quoted} <= set(keys)


@pytest.mark.parametrize("paper", PAPERS)
def test_every_table_is_complete_and_nothing_is_said_twice(paper):
    claims = read(paper)["claims"]
    assert Counter(claim["table"] for claim in claims) == COUNTS[paper]
    assert not [name for name, times in Counter(map(key, claims)).items() if times > 1]


@pytest.mark.parametrize("paper", PAPERS)
def test_claims_have_the_right_keys_and_types(paper):
    content = read(paper)
    for claim in content["claims"]:
        assert REQUIRED <= set(claim) <= REQUIRED | OPTIONAL, claim
        assert all(isinstance(claim[name], str) for name in ("table", "row", "column")), claim
        assert type(claim["value"]) is float and type(claim.get("std", 0.0)) is float, claim
        assert claim["value"] > 0 and claim.get("std", 0.0) >= 0, claim
        decimals = content["tables"][claim["table"]]["decimals"]
        assert claim["value"] == round(claim["value"], decimals), claim
        assert claim.get("approximate", False) == content["tables"][claim["table"]].get("approximate", False), claim


@pytest.mark.parametrize("paper", ["idgan_sc", "dis_gu"])
def test_scores_lie_between_zero_and_one(paper):
    assert all(0 <= claim["value"] <= 1 and claim.get("std", 0.0) <= 1 for claim in read(paper)["claims"])


def test_quoted_rows_are_marked_and_no_others():
    quoted = {claim["row"] for claim in read("idgan_sc")["claims"] if "quoted_from" in claim}
    assert quoted == {"FactorVAE (γ=40)", "InfoGAN", "InfoGAN-CR"}


def test_printed_zero_spreads_are_kept():
    zeros = [claim for claim in read("dis_gu")["claims"] if claim.get("std") == 0.0]
    assert {claim["row"] for claim in zeros} == {"DisCo", "Dis-GU"} and len(zeros) == 15


@pytest.mark.parametrize(("paper", "table"), SPEC_TABLES, ids=" ".join)
def test_values_are_those_of_the_spec(paper, table):
    if not SPEC.exists():
        pytest.skip("../shared/SPEC.md is not beside this checkout, so there is nothing to compare with")
    ours = {
        (claim.get("dataset"), claim["row"], claim["column"]): (claim["value"], claim.get("std"))
        for claim in read(paper)["claims"]
        if claim["table"] == table
    }
    assert ours == spec_table(*SPEC_TABLES[paper, table])


def spec_table(title: str, naming_cells: int) -> dict[tuple, tuple[float, float | None]]:
    """The first markdown table after `title`: {(dataset, row, column): (value, std)}; a blank data set repeats."""
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in _table_lines(title)]
    header, values, dataset = rows[0], {}, None
    for cells in rows[2:]:
        if naming_cells == 2:
            dataset = cells[0] or dataset
        for column, cell in zip(header[naming_cells:], cells[naming_cells:], strict=True):
            value, _, std = cell.partition("±")
            values[dataset, cells[naming_cells - 1], column] = (float(value), float(std) if std else None)
    return values


def _table_lines(title: str) -> list[str]:
    text = SPEC.read_text(encoding="utf-8").split("\n")
    start = next(number for number, line in enumerate(text) if line.startswith(title))
    first = next(number for number in range(start, len(text)) if text[number].startswith("|"))
    last = next(number for number in range(first, len(text)) if not text[number].startswith("|"))
    return text[first:last]
