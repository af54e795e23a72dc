"""Training of the label-free built-in teacher: ``python -m gaussiancross.trainers.teachers.self_distillation``.

crops       colour frames of rooms → pairs of overlapping crops and their correspondences
objective   loss: self-distillation with balanced clusters
train       `SslTraining`, `SslTrainer`: options; student, teacher and their updates
scores      linear probes of features and baselines (the only use of labels)
export      weights, card and image
"""

from __future__ import annotations

from .train import SslTrainer, SslTraining

__all__ = ["SslTrainer", "SslTraining"]
