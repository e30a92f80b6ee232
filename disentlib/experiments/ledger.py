"""The page `status`: how fresh each chapter is, how fresh the records are, and what the whole book costs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from disentlib.experiments import chapters, places
from disentlib.experiments.job_states import aged
from disentlib.experiments.markup import Html, table
from disentlib.experiments.parameters import notebook_parameters, profiles
from disentlib.experiments.records import Record

__all__ = ["book_costs", "chapter_states", "record_states"]


def chapter_states() -> Html:
    """Each chapter: when it was executed last, from which commit, how, on what and for how long, and if it is fresh."""
    sources = sorted((places.project() / "notebooks").glob("*.ipynb"))
    lines = [_chapter(source) for source in sources if source.stem not in chapters.TOOLS]
    head = ["chapter", "executed (UTC)", "commit", "profile", "device", "seconds", "state"]
    return table(head, lines, "The chapters of this edition")


def _chapter(source: Path) -> list[str]:
    path = chapters.chapter_file(source.stem)
    if chapters.draft(source.stem):
        return [source.stem, "not run", *[""] * 4, _verdict("none", "draft")]
    if source.stem in chapters.LIVE:
        return [source.stem, "with each build", *[""] * 4, _verdict("inside", "live")]
    if not path.exists():
        return [source.stem, "not run", *[""] * 4, _verdict("none", "missing")]
    stamp = json.loads(path.read_text(encoding="utf-8"))["metadata"]["disentlib"]
    profile = stamp["parameters"].get("profile", notebook_parameters(source)["profile"].default)
    why = chapters.stale(source)
    state = _verdict("below", why) if why else _verdict("inside", "fresh")
    commit = str(stamp["commit"]) + ("" if stamp["clean"] else ", changed")
    return [source.stem, stamp["date"], commit, str(profile), stamp["device"], str(stamp["seconds"]), state]


def record_states(records: Sequence[Record]) -> Html:
    """How many of the book's records today's code would make in the same way, as far as they can tell."""
    lines = [[word, str(number)] for word, number in Counter(map(_age, records)).most_common()]
    return table(["", "records"], lines or [["not run", "0"]], "The records behind the tables and figures")


def _age(record: Record) -> str:
    return aged(record) or ("made by this code" if "code" in record.environment else "older than this check: unknown")


def book_costs(records: Sequence[Record]) -> Html:
    """What all trainings behind the book cost at each profile: trained, evaluated, core hours; summed from records."""
    lines = []
    for profile in profiles("quickstart"):
        own = [record for record in records if record.spec["profile"] == profile]
        evaluated = sum(float(r.metrics.get("evaluation_seconds", 0)) for r in own)
        # A record counts threads, whatever else the machine was doing: hours of a core, or of a GPU with its cores.
        core = sum((r.seconds + float(r.metrics.get("evaluation_seconds", 0))) * r.environment["threads"] for r in own)
        numbers = [_hours(sum(r.seconds for r in own)), _hours(evaluated), _hours(core)] if own else ["not run", "", ""]
        devices = ", ".join(sorted({r.environment["device"] for r in own}))
        peak = f"{max(r.peak_memory_mb for r in own) / 1024:.1f}" if own else ""
        lines.append([profile, str(len(own)), *numbers, peak, devices])
    head = ["profile", "trainings", "training, h", "evaluation, h", "core hours", "peak GB", "device"]
    return table(head, lines, "What the whole book costs, by profile")


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f}"


def _verdict(kind: str, text: str | None) -> str:
    return f'<span class="verdict-{kind}">{text}</span>'
