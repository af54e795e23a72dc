"""Training of the label-free built-in teacher: ``python -m gaussiancross.trainers.teachers.self_distillation``.

crops       colour frames of rooms → pairs of crops that overlap, and which places of them correspond
objective   what the student must tell of what it does not see: self-distillation with balanced clusters
train       `SslTraining`, `SslTrainer`: student, teacher and their updates
scores      what a linear classifier reads off features, beside baselines (the one place where labels are used)
export      weights, card and picture
"""

from __future__ import annotations

from .train import SslTrainer, SslTraining

__all__ = ["SslTrainer", "SslTraining"]
