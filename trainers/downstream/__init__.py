"""Downstream: is the representation any good?

config, presets    what decides a run; a preset for every row of the published protocol
scenes             labelled scenes, fewer labels, training batches
segmenter          a backbone and a linear head on one or all of its stages
trainer            `SceneTrainer`: what the trainings of both tasks share
semantic           `SemanticTrainer`: linear probe, fine-tuning, from scratch
fixed              `CachedFeatureProbe`: linear probes of features computed once: of a backbone, of the field, lifted
testing            votes of thirteen passes, on original points
run, results       a row of the protocol from start to end, and its files; `published` has the paper's figures,
                   `protocol` what all rows share
instances          `InstanceTrainer`: PointGroup, with instance_config, _run, _results and _pictures beside it
"""

from .config import LabelConfig, NetworkConfig, OptimConfig, SemanticTraining, TestConfig
from .fixed import CachedFeatureProbe, backbone_source, field_source, lifted_source
from .instance_config import InstanceTraining
from .instances import InstanceTrainer
from .scenes import LabelledScenes, SceneList
from .segmenter import Segmenter
from .semantic import SemanticTrainer

__all__ = [
    "CachedFeatureProbe",
    "InstanceTrainer",
    "InstanceTraining",
    "LabelConfig",
    "LabelledScenes",
    "NetworkConfig",
    "OptimConfig",
    "SceneList",
    "Segmenter",
    "SemanticTrainer",
    "SemanticTraining",
    "TestConfig",
    "backbone_source",
    "field_source",
    "lifted_source",
]
