"""`gaussiancross bench rooms`: effect of pre-training and of its parts on the built-in rooms, as published but smaller.

config     sizes (full, quick, micro) and the recipes shared by all rows
rows       baselines, GaussianCross with each teacher, ablations
data       rooms and teacher tokens at the experiment's size, cached
tasks      tasks of one row and seed: pre-training, probing, fine-tuning, instance segmentation
jobs       runs all tasks in one or several processes, resumable
report     means over seeds, tables, verdicts as sentences
export     saves one pre-trained model with a card
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
