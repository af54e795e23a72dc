"""Two steps or two runs side by side."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gaussiancross.app.export.camera_path import Pose
from gaussiancross.app.export.video import steps_work
from gaussiancross.app.export.work import finish
from gaussiancross.app.render.compare import Comparison, PartnerRenderer
from gaussiancross.app.render.options import RenderOptions
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.app.scenes.source import SplatsSource
from helpers.inspector import as_gaussians, box_room, free_camera, grey_run
from PIL import Image


class TestComparison:
    def test_left_and_right(self, tmp_path: Path):
        source = grey_run(tmp_path)
        renderer = Renderer(source)
        renderer.load(0)
        comparison = Comparison(renderer, source.twin(0))
        image = comparison.draw(0, RenderOptions(at=0.5), free_camera(120, 90)).image
        alone = renderer.draw(0, RenderOptions(), free_camera(120, 90)).image
        assert comparison.names() == ("step 20", "step 0") and comparison.same_run
        assert np.abs(image[40:, :50].astype(int) - alone[40:, :50]).max() < 12
        assert image[40:, 70:].mean() < 60 < alone[40:, 70:].mean()
        for at in (0.0, 1.0):
            assert comparison.draw(0, RenderOptions(at=at), free_camera(120, 90)).image.shape == (90, 120, 3)

    def test_feature_colours_of_two_runs_are_aligned(self):
        scene = box_room(12)
        gaussians = as_gaussians(scene)
        truth = torch.cat([torch.from_numpy(scene.coord), torch.from_numpy(scene.normal)], 1)
        stretch = torch.tensor([0.7, 1.2, 4.0, 1, 1, 1])  # another order of the principal axes
        mixed = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))[0]
        one = Renderer(SplatsSource(replace(gaussians, features=truth), "box", device="cpu"))
        state = one.load(0)
        other = SplatsSource(
            replace(gaussians, features=torch.cat([truth * stretch @ mixed, truth[:, :1] * 0], 1)), "box"
        )
        partner = PartnerRenderer(other, one)
        wanted, _ = one.embedding_colors(0, state)
        plain = Renderer(SplatsSource(replace(gaussians, features=other.load(0).embeddings), "box", device="cpu"))
        got, loose = partner.embedding_colors(0, partner.load(0))[0], plain.embedding_colors(0, plain.load(0))[0]
        assert wanted is not None and got is not None and loose is not None
        off, off_alone = ((c.cpu() - wanted).abs().mean() for c in (got, loose))
        assert off < 0.1 and off < 0.4 * off_alone

    def test_a_video_over_the_steps(self, tmp_path: Path):
        source = grey_run(tmp_path)
        renderer = Renderer(source)
        renderer.load(0)
        pose = Pose(np.array([2.0, 1.5, 1.2]), np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), 1.0)
        movie = Image.open(
            io.BytesIO(finish(steps_work(renderer, source, 0, RenderOptions(), pose, (96, 72), "GIF", "v")).content)
        )
        levels = []
        for i in range(movie.n_frames):
            movie.seek(i)
            levels.append(np.asarray(movie.convert("L"))[30:].mean())
        assert levels[0] < levels[1] < levels[2] and np.allclose(levels[2:], levels[2], atol=1)
        assert source.position is None  # what the browsers see has not moved
