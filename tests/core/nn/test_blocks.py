"""Large scenes in overlapping blocks: features equal those of the whole scene."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.nn import block_files, blocks
from gaussiancross.core.nn.blocks import encode_block, fixed_statistics, measure_statistics, plan_blocks
from gaussiancross.core.nn.encode import voxels_of
from helpers.networks import SMALL, small_backbone

VOXEL = 0.1
ONE = {"layers": (1,) * 8, "voxel_size": VOXEL}


@pytest.fixture(scope="module")
def building() -> PointScene:
    """A floor of 90 × 12 m with a wall every 6 m, other colours everywhere."""
    rng = np.random.default_rng(0)
    floor = np.stack([rng.random(40_000) * 90, rng.random(40_000) * 12, np.zeros(40_000)], 1)
    wall = np.stack([rng.integers(0, 15, 20_000) * 6.0, rng.random(20_000) * 12, rng.random(20_000) * 2.5], 1)
    coord = np.concatenate([floor, wall]).astype(np.float32)
    color = (np.sin(coord @ rng.random((3, 3)) * 3) * 127 + 128).astype(np.uint8)
    normal = np.repeat(np.float32([[0, 0, 1], [1, 0, 0]]), [40_000, 20_000], 0)
    return PointScene("building", coord, color, normal)


def voxels(scene: PointScene):
    return voxels_of(scene.coord, scene.color, scene.normal, VOXEL)


def in_blocks(net, points, plan, hypercolumn=False) -> torch.Tensor:
    parts = [encode_block(net, points, plan, i, hypercolumn) for i in range(len(plan.blocks))]
    rows = np.concatenate([rows for rows, _ in parts])
    assert np.array_equal(np.sort(rows), np.arange(len(points.coord)))  # every voxel once
    out = torch.empty(len(rows), parts[0][1].shape[1])
    out[torch.from_numpy(rows)] = torch.cat([values for _, values in parts])
    return out


@pytest.mark.parametrize("own_statistics", [False, True])
def test_blocks_leave_no_trace(building, own_statistics):
    """Each block's features equal those of the whole scene, and those of its box computed alone with its margin."""
    net, points = small_backbone(own_statistics=own_statistics, **ONE), voxels(building).points
    margin = net.reach + 2  # not a multiple of the coarsest cells, which must begin at the same voxels nevertheless
    plan = plan_blocks(points.grid_coord.numpy(), 26_000, net.reach, overlap=margin)
    assert len(plan.blocks) >= 3
    statistics = measure_statistics(net, points, len(points.coord))
    assert bool(statistics) == own_statistics
    with torch.no_grad():
        whole = net(points.grid_coord, points.feat, points.offset)
        stages = torch.cat(net.stages(points.grid_coord, points.feat, points.offset).spread(), 1)
    with fixed_statistics(net, statistics):
        assert (in_blocks(net, points, plan) - whole).abs().max() < 1e-4 * whole.abs().max()
        assert (in_blocks(net, points, plan, hypercolumn=True) - stages).abs().max() < 1e-4 * stages.abs().max()


def test_without_a_margin_blocks_would_show(building):
    net, points = small_backbone(**ONE), voxels(building).points
    plan = plan_blocks(points.grid_coord.numpy(), 26_000, net.reach, overlap=0)
    with torch.no_grad():
        whole = net(points.grid_coord, points.feat, points.offset)
    assert (in_blocks(net, points, plan) - whole).abs().max() > 0.05 * whole.abs().max()


def test_reach_is_no_larger_than_needed_and_no_smaller():
    """Changing one voxel changes features up to a distance of at most `SpUNet.reach`, and at more than half of it."""
    net = small_backbone(**ONE).double()
    for weight in net.parameters():
        weight.data = 3 * weight.data.abs() if weight.dim() > 1 else weight.data  # nothing is lost in rounding or ReLU
    grid = torch.stack(torch.meshgrid(torch.arange(400), torch.arange(3), torch.arange(3), indexing="ij"), -1)
    grid, feat = grid.reshape(-1, 3), torch.rand(3600, 6, generator=torch.Generator().manual_seed(0)).double()
    changed = feat.clone()
    changed[200 * 9 + 4] += 100
    with torch.no_grad():
        difference = (net(grid, feat, torch.tensor([3600])) - net(grid, changed, torch.tensor([3600]))).abs().sum(1)
    far = int((grid[difference > 0, 0] - 200).abs().max())
    assert net.reach / 2 < far <= net.reach


def test_budget_and_margin(building):
    grid = voxels(building).points.grid_coord.numpy()
    assert len(plan_blocks(grid, len(grid), 112).blocks) == 1
    plan = plan_blocks(grid, 26_000, 112)
    assert max(b.holds(grid, plan.overlap).sum() for b in plan.blocks) <= 26_000 and plan.overlap == 112
    dense = plan_blocks(grid, 15_000, 112)  # blocks of twice the margin do not fit: half of it
    assert dense.overlap == 64 and max(b.holds(grid, 64).sum() for b in dense.blocks) <= 15_000


def test_statistics_of_a_sample_are_near_those_of_the_whole_scene(building):
    net, points = small_backbone(own_statistics=True, **ONE), voxels(building).points
    whole, sample = (measure_statistics(net, points, n) for n in (len(points.coord), 12_000))
    for name, (mean, var) in whole.items():
        assert ((sample[name][0] - mean).abs() <= 0.5 * var.sqrt() + 1e-4).all(), name
    assert all(m.fixed is None for m in net.modules() if hasattr(m, "fixed"))


class TestFiles:
    """`write_features`, interrupted and resumed."""

    @pytest.fixture
    def net(self):
        return small_backbone(own_statistics=True, **ONE)

    def write(self, net, scene, out, report=block_files.SILENT):
        found = voxels(scene)
        plan = plan_blocks(found.points.grid_coord.numpy(), 26_000, net.reach)
        return block_files.write_features(net, found, plan, 26_000, out, report=report)

    def test_resumes_exactly(self, net, building, tmp_path, monkeypatch):
        assert self.write(net, building, tmp_path / "whole.npy") == SMALL["channels"][-1]
        calls = []

        def interrupted(*args):
            calls.append(args[3])
            if len(calls) == 3:
                raise KeyboardInterrupt
            return blocks.encode_block(*args)

        monkeypatch.setattr(block_files, "encode_block", interrupted)
        with pytest.raises(KeyboardInterrupt):
            self.write(net, building, tmp_path / "f.npy")
        assert not (tmp_path / "f.npy").exists()
        folder = block_files.parts_folder(tmp_path / "f.npy")
        (folder / "block-0001.npy").write_bytes((folder / "block-0001.npy").read_bytes()[:200])  # and damage
        self.write(net, building, tmp_path / "f.npy")
        assert calls[:3] == [0, 1, 2] and calls[3:5] == [1, 2]
        assert (tmp_path / "f.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["f.npy", "whole.npy"]

    def test_other_points_begin_anew(self, net, building, tmp_path):
        self.write(net, building, tmp_path / "whole.npy")
        folder = block_files.parts_folder(tmp_path / "f.npy")
        folder.mkdir()
        (folder / "plan.json").write_text(json.dumps({"digest": "of something else"}))
        np.save(folder / "block-0000.npy", np.zeros((3, 3), np.float32))
        self.write(net, building, tmp_path / "f.npy")
        assert (tmp_path / "f.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
