"""Which runs answer what a paper prints: studies say what they feed, and the records of their runs are looked up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from disentlib.experiments import places, studies
from disentlib.experiments.claims import Claim, claims, tables
from disentlib.experiments.pages import published
from disentlib.experiments.parameters import profiles
from disentlib.experiments.records import Record
from disentlib.experiments.studies import Job, StudyError, plan
from disentlib.experiments.tables import Row

__all__ = ["Group", "Library", "feeds"]

_KEYS, _NEEDED = {"table", "dataset", "metrics", "runs", "comparable"}, ("table", "metrics", "runs")


@dataclass(frozen=True)
class Group:
    """The published runs of one setting of a study: one profile, one source of data, several seeds."""

    profile: str
    source: str
    records: Sequence[Record]
    failed: int


class Library:
    """The book's records, read once, and the plans of its studies, made once."""

    def __init__(self) -> None:
        self.records = published()
        self._plans: dict[tuple[str, str], list[Job]] = {}

    def jobs(self, study: str, profile: str) -> list[Job]:
        """The runs of a study under a profile."""
        if (study, profile) not in self._plans:
            self._plans[study, profile] = plan(study, profile)
        return self._plans[study, profile]

    def groups(self, study: str, wanted: Mapping[str, object], metric: str) -> Iterator[Group]:
        """The published runs of a study in which all of `wanted` holds, apart for each profile and source of data.

        Only runs that have the metric: what another study has made may have been asked for other scores.
        Where the data lie now does not matter: runs on rendered data are found on a machine that has the real ones.
        """
        for profile in (name for name in profiles(studies.load(study).notebook) if name != "smoke"):
            jobs = studies.matching(self.jobs(study, profile), wanted)
            keys, failed = [_key(job.spec.content()) for job in jobs], _failed(jobs)
            scored = [r for r in self.records if r.spec["profile"] == profile and r.has(metric)]
            records = [r for r in scored if _key(r.spec) in keys]
            for source in sorted({record.data["source"] for record in records}):
                own = [record for record in records if record.data["source"] == source]
                if len({record.spec["seed"] for record in own}) < len(own):
                    raise StudyError(f"study {study} has several settings with {dict(wanted)}: say which")
                yield Group(profile, source, own, failed)
            if not records and failed:
                yield Group(profile, "", [], failed)

    def rows(self, paper: str, table: str) -> list[Row]:
        """A row for each value of the table and each profile that has answered it; one without records if none has.

        LookupError for an unknown paper or table.
        """
        if table not in tables(paper):
            raise LookupError(f"{paper} has no table {table!r}; known: {', '.join(tables(paper))}")
        found, fed = [], [(name, feed) for name, feed in feeds() if feed["table"] == f"{paper}/{table}"]
        for claim in claims(paper):
            if claim.table == table:
                answered = [row for name, feed in fed for row in self._answers(claim, name, feed)]
                found += answered or [Row(_label(claim), claim, [], "")]
        return found

    def _answers(self, claim: Claim, study: str, feed: Mapping) -> Iterator[Row]:
        """A table's rows may be settings and its columns metrics, or the other way round."""
        if feed.get("dataset", claim.dataset) != claim.dataset:
            return
        for metric, setting in ((claim.row, claim.column), (claim.column, claim.row)):
            if metric in feed["metrics"] and setting in feed["runs"]:
                for group in self.groups(study, feed["runs"][setting], score := feed["metrics"][metric]):
                    why_not = _why_not(group.records, feed.get("comparable", {}))
                    yield Row(_label(claim), claim, group.records, score, group.failed, why_not)


def feeds() -> list[tuple[str, dict]]:
    """`(study, feed)` for everything that a study feeds; StudyError for a feed that is not as it has to be."""
    found = [(name, feed) for name in studies.names() for feed in studies.load(name).feeds]
    for name, feed in found:
        if not isinstance(feed, dict) or set(feed) - _KEYS or [key for key in _NEEDED if key not in feed]:
            raise StudyError(f"study {name}: a feed has {', '.join(sorted(_KEYS))}; got {feed!r}")
    return found


def _why_not(records: Sequence[Record], comparable: Mapping[str, object]) -> str | None:
    """What keeps the records from being compared with the paper: where they are not what `comparable` asks for."""
    for record in records:
        if any(record.get(name) != value for name, value in comparable.items()):
            spec = record.spec
            return f"{record.data['description']}, {spec['image_size']} px, {spec['steps']} steps"
    return None


def _label(claim: Claim) -> str:
    return ", ".join(filter(None, [claim.dataset, claim.row, claim.column]))


def _key(spec: Mapping[str, object]) -> dict[str, object]:
    """What two records of the same run have in common, wherever their data came from: parents' ids depend on it too."""
    parents = {role: _key(parent) for role, parent in spec.get("parents", {}).items()}
    return {name: value for name, value in spec.items() if name not in ("source", "id")} | {"parents": parents}


def _failed(jobs: Sequence[Job]) -> int:
    """Runs that failed and have no record all the same."""
    failures, done = places.published_failures(), places.published_records()
    return sum((failures / f"{j.id}.json").exists() and not (done / f"{j.id}.json").exists() for j in jobs)
