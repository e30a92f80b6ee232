"""Parameters and profiles, runs and records, claims, and the tables between them."""

from disentlib.experiments.answers import Library
from disentlib.experiments.claims import claim, claims
from disentlib.experiments.distillation import counted, gained, unmoved
from disentlib.experiments.evaluation import informed, row_labels
from disentlib.experiments.markup import Html, table
from disentlib.experiments.pages import against_ours, costs, parameter_table, published, record_table, watched_table
from disentlib.experiments.parameters import begin
from disentlib.experiments.pictures import against, loss_curves, seed_dots, summary, traversals, watched_curves
from disentlib.experiments.planned import chosen, planned, run_planned
from disentlib.experiments.provenance import provenance
from disentlib.experiments.readings import errata
from disentlib.experiments.records import Record, read_all, select
from disentlib.experiments.reproduction import overview, paper_tables
from disentlib.experiments.runs import Run, Spec, prerequisite, run, run_all
from disentlib.experiments.settings import model_spec, training_spec, vae_spec
from disentlib.experiments.spread_table import two_spreads
from disentlib.experiments.statistics import Interval, bootstrap, paired
from disentlib.experiments.tables import Row, compare, interval_of, ordering

__all__ = [
    "Html",
    "Interval",
    "Library",
    "Record",
    "Row",
    "Run",
    "Spec",
    "against",
    "against_ours",
    "begin",
    "bootstrap",
    "chosen",
    "claim",
    "claims",
    "compare",
    "costs",
    "counted",
    "errata",
    "gained",
    "informed",
    "interval_of",
    "loss_curves",
    "model_spec",
    "ordering",
    "overview",
    "paired",
    "paper_tables",
    "parameter_table",
    "planned",
    "prerequisite",
    "provenance",
    "published",
    "read_all",
    "record_table",
    "run",
    "row_labels",
    "run_all",
    "run_planned",
    "seed_dots",
    "select",
    "summary",
    "table",
    "training_spec",
    "traversals",
    "two_spreads",
    "unmoved",
    "vae_spec",
    "watched_curves",
    "watched_table",
]
