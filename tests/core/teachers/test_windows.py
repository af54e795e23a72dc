"""Sliding windows and several scales of an image."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from gaussiancross.core.teachers.windows import multi_scale, resize_images, sliding, starts
from helpers.checkpoints import images, load


# --- windows, scales, precision --------------------------------------------------------------------------------
def test_windows_cover_everything() -> None:
    assert starts(10, 4, 3) == [0, 3, 6]
    assert starts(11, 4, 3) == [0, 3, 6, 7]
    assert starts(4, 4, 1) == [0]
    assert starts(3, 4, 1) == [0]


@pytest.mark.parametrize(("window", "stride", "batch"), [(16, 8, 3), (24, 16, 1), (16, 0, 64), (400, 0, 2), (0, 0, 2)])
def test_sliding_windows_are_the_naive_loop(window: int, stride: int, batch: int) -> None:
    def network(x: torch.Tensor) -> torch.Tensor:
        tokens = torch.nn.functional.avg_pool2d(x, 8).permute(0, 2, 3, 1)
        return tokens + tokens.mean((1, 2), keepdim=True).square()  # what a token says depends on its window

    x = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    got = sliding(network, x, 8, window, stride, batch)
    for i in range(2):
        said: dict[tuple[int, int], list[torch.Tensor]] = {}
        wh, ww = min(window or 56, 40), min(window or 56, 56)
        step = stride or max(wh, ww) // 2 // 8 * 8
        for top in sorted({min(t, 40 - wh) for t in range(0, 40, step)}):
            for left in sorted({min(t, 56 - ww) for t in range(0, 56, step)}):
                tokens = network(x[i : i + 1, :, top : top + wh, left : left + ww])[0]
                for r in range(tokens.shape[0]):
                    for c in range(tokens.shape[1]):
                        said.setdefault((top // 8 + r, left // 8 + c), []).append(tokens[r, c])
        assert len(said) == 5 * 7
        for (r, c), values in said.items():
            torch.testing.assert_close(got[i, r, c], torch.stack(values).mean(0))


def test_scales_are_averaged_on_the_grid_of_the_first_size() -> None:
    def network(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 8).permute(0, 2, 3, 1)

    x = torch.rand(1, 3, 32, 48)
    assert torch.equal(multi_scale(network, x, 8, (1.0,)), network(x))
    both = multi_scale(network, x, 8, (1.0, 2.0))
    fine = network(resize_images(x, 64, 96)).permute(0, 3, 1, 2)
    torch.testing.assert_close(both, (network(x) + resize_images(fine, 4, 6).permute(0, 2, 3, 1)) / 2)


def test_windows_and_scales_of_a_teacher(checkpoints: dict[str, Path]) -> None:
    pictures = images(3, 32, 48)
    whole, windows = load(checkpoints, "clip"), load(checkpoints, "clip", ",window=16,stride=8,scales=1+2,batch=2")
    assert windows.maps(pictures).shape == whole.maps(pictures).shape
    assert (windows.maps(pictures) - whole.maps(pictures)).abs().max() > 1e-4
    corner = load(checkpoints, "clip", ",window=16,stride=16").maps(pictures)[:, :2, :2]
    torch.testing.assert_close(corner, whole.maps(pictures[:, :16, :16]), rtol=1e-4, atol=1e-5)
