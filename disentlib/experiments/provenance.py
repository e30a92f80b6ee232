"""Where a figure or table comes from, as one folded line under it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from disentlib.experiments.markup import Html
from disentlib.experiments.records import Record

__all__ = ["provenance"]


def provenance(records: Sequence[Record], note: str = "") -> Html:
    """Profile, data, seeds, device, date, commit and record ids of what stands above; "not run" without records."""
    unique = list({record.id: record for record in records}.values())
    if not unique:
        text = note or "not run: there is no record for this"
        return Html(f'<details class="provenance"><summary>{html.escape(text)}</summary></details>')
    summary = " · ".join(filter(None, [
        _span("profile", [r.spec["profile"] for r in unique]),
        "; ".join(_distinct(f"{r.data['description']}, {r.data['image_shape'][-1]} px" for r in unique)),
        _span("seeds", sorted({r.spec["seed"] for r in unique})),
        _span("", [r.environment["device"] for r in unique]),
        _dates(unique),
        note,
    ]))  # fmt: skip
    lines = "".join(f"<li><code>{html.escape(line)}</code></li>" for line in map(_detail, unique))
    return Html(f'<details class="provenance"><summary>{html.escape(summary)}</summary><ul>{lines}</ul></details>')


def _distinct(values: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(str(v) for v in values))


def _span(word: str, values: Iterable[object]) -> str:
    return f"{word} {', '.join(_distinct(values))}".strip()


def _dates(records: Sequence[Record]) -> str:
    days = sorted({r.environment["date"][:10] for r in records})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _detail(record: Record) -> str:
    environment = record.environment
    tree = {True: "clean", False: "changed", None: "unknown"}[environment["clean"]]
    copies = "".join(f", built on {id} with weights {copy}" for id, copy in environment.get("built_on", {}).items())
    arithmetic = environment.get("arithmetic") or record.spec.get("precision", "float32")  # older: as asked
    return (
        f"{record.id}: {record.spec['steps']} steps in {record.seconds:.0f} s, {arithmetic}, "
        f"{environment['threads']} thread(s), "
        f"torch {environment['versions']['torch']}, commit {environment['commit']} ({tree} tree), "
        f"data {record.data['hash']}{copies}"
    )
