"""Augmentation of labelled scenes: effect of each transform, determinism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gaussiancross.core.data.augment import (
    NO_SCENE_AUGMENT,
    AugmentConfig,
    SceneAugmentConfig,
    augment_scene,
    auto_contrast,
    elastic_distortion,
    jitter,
    jitter_color,
    join_scenes,
    mix3d,
    shift_color,
    sphere_crop,
)
from gaussiancross.core.data.scene import PointScene


def make_scene(n: int = 500, seed: int = 0, name: str = "scene") -> PointScene:
    rng = np.random.default_rng(seed)
    coord = rng.uniform(0, 3, (n, 3)).astype(np.float32)
    color = rng.integers(0, 256, (n, 3)).astype(np.uint8)
    normal = rng.normal(size=(n, 3))
    normal = (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)
    return PointScene(name, coord, color, normal, np.arange(n) % 4, np.arange(n) % 7)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(a: PointScene, b: PointScene) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.arrays().values(), b.arrays().values(), strict=True))


class TestScene:
    def test_the_generator_alone_decides(self):
        scene = make_scene()
        once, again, other = (augment_scene(scene, SceneAugmentConfig(), rng(s)) for s in (1, 1, 2))
        assert same(once, again)
        assert not same(once, other)

    def test_an_empty_augmentation_only_centres(self):
        scene = make_scene()
        out = augment_scene(scene, NO_SCENE_AUGMENT, rng())
        assert np.array_equal(out.color, scene.color) and np.array_equal(out.segment, scene.segment)
        np.testing.assert_allclose(out.coord - out.coord[0], scene.coord - scene.coord[0], atol=1e-5)
        assert out.coord[:, 2].min() == pytest.approx(0, abs=1e-5)

    def test_the_input_scene_is_unchanged(self):
        scene, before = make_scene(), make_scene()
        augment_scene(scene, SceneAugmentConfig(), rng())
        assert same(scene, before)

    def test_dropout_removes_its_share_and_keeps_protected_points(self):
        scene = make_scene()
        config = replace(NO_SCENE_AUGMENT, drop_probability=1.0, drop_ratio=0.4)
        assert len(augment_scene(scene, config, rng())) == 300
        kept = scene.segment == 1
        out = augment_scene(scene, config, rng(), keep=kept)
        assert (out.segment == 1).sum() == kept.sum()
        assert 300 < len(out) < 500

    def test_labels_stay_with_their_points(self):
        scene = make_scene()
        scene = replace(scene, color=np.stack([scene.segment * 60] * 3, 1).astype(np.uint8))
        config = replace(NO_SCENE_AUGMENT, drop_probability=1.0, geometry=AugmentConfig())
        out = augment_scene(scene, config, rng(3))
        assert np.array_equal(out.color[:, 0] // 60, out.segment)


class TestJitter:
    def test_size_and_limit(self):
        coord = np.zeros((20_000, 3), np.float32)
        moved = jitter(coord, 0.005, 0.006, rng())
        assert np.abs(moved).max() == pytest.approx(0.006)
        assert jitter(coord, 0.005, 1.0, rng()).std() == pytest.approx(0.005, rel=0.02)


class TestElastic:
    def test_neighbours_move_alike_and_far_points_do_not(self):
        coord = make_scene(2000).coord
        twin = coord + np.float32(0.002)
        both = np.concatenate([coord, twin])
        shift = elastic_distortion(both, 0.5, 0.4, rng()) - both
        near = np.linalg.norm(shift[:2000] - shift[2000:], axis=1)
        far = np.linalg.norm(shift[:2000] - np.roll(shift[:2000], 7, 0), axis=1)
        assert np.median(near) < 0.02 * np.median(far)

    def test_without_magnitude_nothing_moves(self):
        coord = make_scene().coord
        assert np.array_equal(elastic_distortion(coord, 0.2, 0.0, rng()), coord)

    def test_magnitude_scales_the_same_field(self):
        coord = make_scene().coord
        one, two = (elastic_distortion(coord, 0.3, m, rng(5)) - coord for m in (0.2, 0.4))
        np.testing.assert_allclose(two, 2 * one, atol=1e-5)

    def test_the_displacement_field_follows_the_formula(self):
        """Against plain loops over a lattice: box filters with zeros outside, then trilinear interpolation."""
        coord, pitch = make_scene(40).coord, 0.8
        low = coord.min(0)
        shape = ((coord.max(0) - low) // pitch).astype(int) + 3
        noise = rng(2).standard_normal((3, *shape), np.float32).astype(np.float64)
        for _ in range(2):
            for axis in (1, 2, 3):
                padded = np.pad(noise, [(1, 1) if a == axis else (0, 0) for a in range(4)])
                parts = [np.take(padded, range(k, k + noise.shape[axis]), axis) for k in range(3)]
                noise = sum(parts) / 3
        expected = np.zeros_like(coord)
        for n, point in enumerate(coord):
            at = (point - low) / pitch + 1
            base = np.floor(at).astype(int)
            for corner in np.ndindex(2, 2, 2):
                weight = np.prod([f if c else 1 - f for c, f in zip(corner, at - base, strict=True)])
                expected[n] += weight * noise[(slice(None), *np.minimum(base + corner, shape - 1))]
        np.testing.assert_allclose(elastic_distortion(coord, pitch, 1.0, rng(2)) - coord, expected, atol=1e-5)


class TestColors:
    def test_contrast_stretches_each_channel(self):
        color = np.stack([np.linspace(50, 100, 11), np.linspace(0, 255, 11), np.full(11, 30)], 1)
        out = auto_contrast(color, 1.0)
        np.testing.assert_allclose(out[:, 0], np.linspace(0, 255, 11), atol=1e-3)
        np.testing.assert_allclose(out[:, 1:], color[:, 1:], atol=1e-3)  # full already; one value only
        np.testing.assert_allclose(auto_contrast(color, 0.0), color)

    def test_a_shift_is_one_number_per_channel(self):
        color = make_scene().color.clip(60, 190).astype(np.float32)
        shift = shift_color(color, 0.05, rng()) - color
        assert np.ptp(shift, 0).max() < 1e-3
        assert 0 < np.abs(shift).max() <= 0.05 * 255

    def test_noise_is_everywhere_and_within_range(self):
        color = np.full((20_000, 3), 128.0)
        assert jitter_color(color, 0.05, rng()).std() == pytest.approx(0.05 * 255, rel=0.02)
        assert jitter_color(np.full((500, 3), 255.0), 0.5, rng()).max() <= 255


class TestCrop:
    def test_is_a_ball_around_one_of_the_points(self):
        coord = make_scene().coord
        index = sphere_crop(coord, 100, rng())
        assert len(index) == len(set(index)) == 100
        inside = np.zeros(len(coord), bool)
        inside[index] = True
        balls = [np.linalg.norm(coord - coord[i], axis=1) for i in index]
        assert any(d[inside].max() <= d[~inside].min() for d in balls)

    def test_small_scenes_stay_whole(self):
        assert np.array_equal(sphere_crop(make_scene(50).coord, 50, rng()), np.arange(50))


class TestMix:
    def test_pairs_or_nothing(self):
        scenes = [make_scene(10 + i, i, f"s{i}") for i in range(5)]
        assert [s.name for s in mix3d(scenes, 0.0, rng())] == ["s0", "s1", "s2", "s3", "s4"]
        mixed = mix3d(scenes, 1.0, rng())
        assert [s.name for s in mixed] == ["s0+s1", "s2+s3", "s4"]
        assert [len(s) for s in mixed] == [21, 25, 14]

    def test_happens_with_its_probability(self):
        scenes = [make_scene(5, i) for i in range(2)]
        happened = sum(len(mix3d(scenes, 0.8, rng(s))) == 1 for s in range(400))
        assert 0.74 < happened / 400 < 0.86

    def test_instances_keep_apart(self):
        a, b = make_scene(30), make_scene(30, 1)
        b.instance[:3] = -1
        both = join_scenes(a, b)
        assert both.instance[:30].max() < both.instance[33:].min()
        assert (both.instance[30:33] == -1).all()
        assert np.array_equal(both.segment, np.concatenate([a.segment, b.segment]))

    def test_a_scene_without_labels_becomes_unlabelled_points(self):
        both = join_scenes(make_scene(4), replace(make_scene(3), segment=None, instance=None))
        assert both.segment.tolist() == [0, 1, 2, 3, -1, -1, -1]
        assert both.instance.tolist() == [0, 1, 2, 3, -1, -1, -1]
