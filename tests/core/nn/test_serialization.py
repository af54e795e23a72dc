"""The curves along which patches are laid out."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.nn.serialization import (
    BITS,
    ORDERS,
    cells,
    curve_codes,
    patch_order,
    reference_code,
)


def all_cells(bits):
    axis = torch.arange(1 << bits)
    return torch.cartesian_prod(axis, axis, axis)


@pytest.mark.parametrize("order", ORDERS)
class TestEveryCurve:
    @pytest.mark.parametrize("bits", [1, 2, 3])
    def test_is_its_definition(self, order, bits):
        grid = all_cells(bits)
        expected = [reference_code(tuple(c), order, bits) for c in grid[::7].tolist()]
        assert curve_codes(grid, order, bits)[::7].tolist() == expected

    @pytest.mark.parametrize("bits", [1, 4])
    def test_visits_every_cell_once(self, order, bits):
        assert curve_codes(all_cells(bits), order, bits).sort().values.tolist() == list(range(8**bits))

    def test_full_depth(self, order):
        corners = torch.tensor([[0, 0, 0], [1023, 1023, 1023], [513, 2, 1000]])
        codes = curve_codes(corners, order)
        assert codes[0] == 0 and int(codes.max()) < 8**BITS and len(set(codes.tolist())) == 3
        if order != "hilbert":
            assert codes.tolist() == [reference_code(tuple(c), order) for c in corners.tolist()]

    def test_patches_are_sorted_each_by_itself(self, order):
        points = torch.rand(2, 5, 33, 3, generator=torch.Generator().manual_seed(0))
        index = patch_order(points, order)
        assert index.sort(-1).values.unique(dim=-2).shape[-2] == 1  # a permutation of each patch
        codes = curve_codes(cells(points), order).gather(-1, index)
        assert (codes.diff(dim=-1) >= 0).all()
        moved = patch_order(points[1:, 3:4] * 7 - 2, order)  # where a patch lies and its size do not matter
        assert (moved[0, 0] == index[1, 3]).float().mean() > 0.9

    def test_equal_points_keep_their_order(self, order):
        assert patch_order(torch.ones(1, 6, 3), order).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_hilbert_steps_to_a_neighbour():
    grid = all_cells(4)
    path = grid[curve_codes(grid, "hilbert", 4).argsort()]
    assert (path.diff(dim=0).abs().sum(1) == 1).all()


def test_nearness_survives_best_on_hilbert():
    points = torch.rand(1, 512, 3, generator=torch.Generator().manual_seed(0))

    def step(order):
        return float(points[0, patch_order(points, order)[0]].diff(dim=0).norm(dim=1).mean())

    assert step("hilbert") < step("z") < step("xyz")


def test_an_unknown_order_is_refused():
    with pytest.raises(InputError, match="one of xyz, z, hilbert, found 'peano'"):
        curve_codes(torch.zeros(1, 3), "peano")  # type: ignore[arg-type]
