"""Configs to dictionaries and back."""

from __future__ import annotations

import dataclasses

import pytest
from gaussiancross.core.config import from_dict, to_dict
from gaussiancross.core.errors import InputError
from gaussiancross.core.nn.heads import HeadConfig


class TestConfig:
    def test_round_trip_and_unknown_keys(self):
        config = HeadConfig(hidden=7, scale_range=(0.2, 2.0))
        assert from_dict(HeadConfig, to_dict(config)) == config
        assert from_dict(HeadConfig, {}) == HeadConfig()
        with pytest.raises(InputError, match="colour"):
            from_dict(HeadConfig, {"colour": 1})

    def test_presets_round_trip_through_json(self):
        import json

        from gaussiancross.trainers.pretraining.presets import FULL, TINY
        from gaussiancross.trainers.pretraining.trainer import PretrainConfig

        for preset in (FULL, TINY):
            assert from_dict(PretrainConfig, json.loads(json.dumps(to_dict(preset)))) == preset
            assert dataclasses.is_dataclass(preset)
