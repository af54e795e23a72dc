"""The Gaussian head."""

from __future__ import annotations

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.nn.heads import GaussianHead, HeadConfig, rows_without_reading


class TestHeads:
    def make(self, n=5000, **changes):
        torch.manual_seed(0)
        head = GaussianHead(16, HeadConfig(**changes))
        pitch = torch.tensor([0.1, 0.2, 0.3])
        return head, head(torch.randn(n, 16), torch.randn(n, 3), pitch), pitch

    def test_starts_at_the_anchors_with_the_stated_shape(self):
        head, g, pitch = self.make(prune_floor=1.0)
        torch.manual_seed(0)
        assert len(g) == 5000
        assert torch.allclose(g.scales, 0.5 * pitch.expand(5000, 3), rtol=1e-4)
        assert torch.equal(g.quats, torch.tensor([1.0, 0, 0, 0]).expand(5000, 4))
        assert (g.opacities > head.config.prune_threshold).all()
        assert g.features.shape == (5000, 32)
        offsets = head(torch.zeros(7, 16), torch.zeros(7, 3), pitch).means
        assert (offsets == 0).all()

    @pytest.mark.parametrize("seed", range(3))
    def test_ranges_hold_for_any_weights(self, seed):
        head, _, pitch = self.make()
        torch.manual_seed(seed)
        for p in head.parameters():
            torch.nn.init.normal_(p, std=3)
        g = head(torch.randn(4000, 16), torch.zeros(4000, 3), pitch)
        assert (g.means.abs() <= pitch * (1 + 1e-6)).all()
        assert (g.scales >= 0.1 * pitch * (1 - 1e-5)).all() and (g.scales <= 3 * pitch * (1 + 1e-5)).all()
        assert ((g.colors >= 0) & (g.colors <= 1)).all()

    def test_prunes_by_opacity_but_never_below_the_floor(self):
        head = GaussianHead(4, HeadConfig(prune_floor=0.6))
        opacities = torch.tensor([0.1, 0.9, 0.3, 0.25, 0.31])
        many, one = torch.tensor([0.5, 0.6, 0.7, 0.8, 0.01]), torch.tensor([0.1])

        def keep(*scenes):
            rows, kept = head.keep(torch.cat(scenes), [len(scene) for scene in scenes])
            assert sum(kept) == len(rows)
            return rows.tolist(), kept

        assert keep(opacities) == ([1, 2, 4], [3])  # two above τ (0.3 itself is not), and the next to the floor
        assert keep(many) == ([0, 1, 2, 3], [4])
        assert keep(one) == ([0], [1])
        assert keep(opacities, many, one) == ([1, 2, 4, 5, 6, 7, 8, 10], [3, 4, 1])
        assert keep(torch.tensor([torch.nan, 0.1, 0.2, 0.25, 0.05])) == ([1, 2, 3], [3])  # NaN is never the highest
        mask = torch.arange(100) % 3 > 0
        assert torch.equal(rows_without_reading(mask, int(mask.sum())), mask.nonzero()[:, 0])
        assert rows_without_reading(mask & False, 0).shape == (0,)

    def test_a_floor_that_is_no_share_is_refused(self):
        with pytest.raises(InputError, match="share of the anchors"):
            HeadConfig(prune_floor=2000)

    def test_base_colour_plus_residual(self):
        head = GaussianHead(4, HeadConfig(prune_floor=1.0))
        base = torch.rand(9, 3)
        torch.nn.init.zeros_(head.rest.weight)
        g = head(torch.randn(9, 4), torch.zeros(9, 3), torch.ones(3), base_color=base)
        assert torch.allclose(g.colors, base)

    def test_everything_gets_a_gradient(self):
        head, g, _ = self.make()
        sum(t.square().sum() for t in (g.means, g.quats, g.scales, g.opacities, g.colors, g.features)).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
