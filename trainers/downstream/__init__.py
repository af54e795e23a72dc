"""Downstream: is the representation any good?

config, presets    what decides a run; a preset for every row of the published protocol
scenes             labelled scenes, fewer labels, training batches
segmenter          a backbone and a linear head on one or all of its stages
semantic           `SemanticTrainer`: linear probe, fine-tuning, from scratch
testing            votes of thirteen passes, on original points
"""

from .config import LabelConfig, NetworkConfig, OptimConfig, SemanticTraining, TestConfig
from .scenes import LabelledScenes, SceneList
from .segmenter import Segmenter
from .semantic import SemanticTrainer

__all__ = [
    "LabelConfig",
    "LabelledScenes",
    "NetworkConfig",
    "OptimConfig",
    "SceneList",
    "Segmenter",
    "SemanticTrainer",
    "SemanticTraining",
    "TestConfig",
]
