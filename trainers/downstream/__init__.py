"""Downstream evaluation: linear probing, fine-tuning, instance segmentation.

config, presets    options of semantic segmentation; one preset per row of the published protocol
scenes             labelled scenes, reduced labels, training batches
segmenter          a backbone and a linear head on one or all of its stages
trainer            `SceneTrainer`: base of the trainings of both tasks
semantic           `SemanticTrainer`: linear probing, fine-tuning, training from scratch
fixed              `CachedFeatureProbe`: linear probes of precomputed features (backbone, feature field, lifted)
testing            voting over thirteen augmented passes, scored on the original points
run, results       one row of the protocol from training to its files
protocol           starting model, metadata and deviations from the published recipe
published          the paper's figures, and the comparison with results of this project
instances          `InstanceTrainer`: PointGroup; with instance_config, _run, _results and _pictures
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
