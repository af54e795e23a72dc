"""Averages over voxels."""

import torch
from gaussiancross.core.geometry.voxels import voxel_mean


def test_every_occupied_voxel_has_the_mean_of_its_points():
    coord = torch.tensor([[0.01, 0, 0], [0.09, 0, 0], [-0.05, 0.25, 0], [0.05, 0, 0.31], [0.02, 0, 0.35]])
    values = torch.tensor([[1.0, 0], [3, 0], [5, 1], [2, 2], [4, 6]])
    expected = torch.tensor([[5.0, 1], [2, 0], [3, 4]])  # by x, then y, then z of the voxel
    assert torch.equal(voxel_mean(values, coord, 0.1), expected)
    assert torch.equal(voxel_mean(values, coord + 100 * 0.1, 0.1), expected)


def test_gradients_are_shared_among_the_points_of_a_voxel():
    values = torch.zeros(3, 1, requires_grad=True)
    voxel_mean(values, torch.tensor([[0.0, 0, 0], [0.01, 0, 0], [1, 1, 1]]), 0.1)[0].backward()
    assert values.grad is not None and values.grad[:, 0].tolist() == [0.5, 0.5, 0]
