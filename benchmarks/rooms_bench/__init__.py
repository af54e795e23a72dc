"""rooms-bench: does pre-training pay, and which part of it? The published experiment in small, on the built-in rooms.

config     sizes (full, quick, micro) and the recipes that all rows share
rows       baselines, GaussianCross with each teacher, ablations
data       the rooms at the experiment's size
tasks      one row with one seed: pre-train, probe, fine-tune, segment instances
jobs       all of them, resumable, side by side
report     means over seeds, tables, what helps in words
"""

from .config import FULL, MICRO, PRETRAIN, QUICK, SETTINGS, BenchConfig, Size, Variant
from .jobs import make_jobs, run_jobs
from .rows import REFERENCE, ROWS, Row, choose_rows
from .tasks import Job, TaskRunner, read_results

__all__ = [
    "FULL",
    "MICRO",
    "PRETRAIN",
    "QUICK",
    "REFERENCE",
    "ROWS",
    "SETTINGS",
    "BenchConfig",
    "Job",
    "Row",
    "Size",
    "TaskRunner",
    "Variant",
    "choose_rows",
    "make_jobs",
    "read_results",
    "run_jobs",
]
