"""CLIP-GS's losses against their formulas, on one rank and on several."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.losses.clipgs import (
    gather_ranks,
    image_voting,
    reference_image_voting,
    reference_text_contrast,
    text_contrast,
    voting_weights,
)
from torch.nn import functional as F


def unit(*shape, seed=0):
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(drawn, dim=-1)


@pytest.fixture
def batch():
    objects, scale = unit(6, 5).requires_grad_(), torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    texts, images = unit(6, 5, seed=1), unit(6, 3, 5, seed=2)
    return objects, texts, images, scale


IDS = torch.tensor([0, 1, 0, 2, 2, 2])


def grads(loss, *inputs):
    return torch.autograd.grad(loss, inputs)


class TestOneRank:
    @pytest.mark.parametrize("ids", [None, IDS])
    def test_text(self, batch, ids):
        objects, texts, _, scale = batch
        ours, reference = (f(objects, texts, scale, ids) for f in (text_contrast, reference_text_contrast))
        torch.testing.assert_close(ours, reference)
        for a, b in zip(grads(ours, objects, scale), grads(reference, objects, scale), strict=True):
            torch.testing.assert_close(a, b)

    @pytest.mark.parametrize("ids", [None, IDS])
    @pytest.mark.parametrize("voting", ["share", "softmax", "none"])
    def test_voting(self, batch, voting, ids):
        objects, texts, images, scale = batch
        weights = voting_weights(texts, images, voting)
        ours, reference = (f(objects, images, weights, scale, ids) for f in (image_voting, reference_image_voting))
        torch.testing.assert_close(ours, reference)
        for a, b in zip(grads(ours, objects, scale), grads(reference, objects, scale), strict=True):
            torch.testing.assert_close(a, b)

    def test_one_view_is_the_text_loss(self, batch):
        objects, texts, _, scale = batch
        one = image_voting(objects, texts[:, None], torch.ones(6, 1, dtype=torch.float64), scale)
        torch.testing.assert_close(one, text_contrast(objects, texts, scale))

    def test_a_perfect_match_costs_nothing_and_chance_costs_log_n(self):
        objects = torch.eye(8)
        assert float(text_contrast(objects, objects, torch.tensor(100.0))) < 1e-6
        same = torch.ones(8, 4) / 2
        assert float(text_contrast(same, same, torch.tensor(100.0))) == pytest.approx(torch.log(torch.tensor(8.0)))

    def test_all_captions_alike(self):
        loss = text_contrast(unit(4, 3), unit(4, 3), torch.tensor(5.0), torch.zeros(4, dtype=torch.int64))
        assert float(loss) == pytest.approx(0, abs=1e-12)


class TestWeights:
    def test_by_hand(self):
        text = torch.tensor([[1.0, 0], [1, 0]])
        images = torch.tensor([[[2.0, 0], [0.6, 0.8], [-1, 0]], [[-1, 0], [-1, 0], [0, -3]]])
        share = voting_weights(text, images)
        torch.testing.assert_close(share, torch.tensor([[1 / 1.6, 0.6 / 1.6, 0], [1 / 3] * 3]))
        torch.testing.assert_close(voting_weights(text, images, "none"), torch.full((2, 3), 1 / 3))
        soft = voting_weights(text, images * torch.tensor(5.0), "softmax")
        assert float(soft[0, 0]) > 0.999 and torch.allclose(soft.sum(1), torch.ones(2))

    def test_no_gradient_and_unknown_names(self):
        image = torch.rand(2, 3, 4, requires_grad=True)
        assert not voting_weights(torch.rand(2, 4), image).requires_grad
        with pytest.raises(InputError, match="share, softmax or none, found 'raw'"):
            voting_weights(torch.rand(2, 4), image, "raw")  # type: ignore[arg-type]


class TestRanks:
    def test_without_a_group_nothing_is_gathered(self):
        x = torch.rand(3, 2)
        assert gather_ranks(x) is x

    @pytest.mark.parametrize("ids", [None, IDS])
    def test_ranks_add_up_to_the_whole(self, batch, ids):
        """Ranks simulated one after the other: the mean of their losses is the loss of the whole batch."""
        objects, texts, images, scale = batch
        weights = voting_weights(texts, images)
        everything = [objects, texts, *images.unbind(1), *([] if ids is None else [ids])]

        def rank_loss(rank):
            rows = slice(rank * 2, rank * 2 + 2)

            def gather(x):
                return next(t for t in everything if t.dtype == x.dtype and torch.equal(t[rows], x))

            gather.rank = rank
            own = None if ids is None else ids[rows]
            text = text_contrast(objects[rows], texts[rows], scale, own, gather)
            return text + image_voting(objects[rows], images[rows], weights[rows], scale, own, gather)

        whole = text_contrast(objects, texts, scale, ids) + image_voting(objects, images, weights, scale, ids)
        mean = sum(rank_loss(r) for r in range(3)) / 3
        torch.testing.assert_close(mean, whole)
        torch.testing.assert_close(grads(mean, objects, scale), grads(whole, objects, scale))

    @pytest.mark.slow
    def test_two_processes(self, tmp_path):
        """Gradients, averaged over two real ranks, are those of the whole batch."""
        script = tmp_path / "rank.py"
        script.write_text(RANK)
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen([sys.executable, str(script), str(rank), str(tmp_path)], env=env) for rank in range(2)
        ]
        assert [p.wait(240) for p in ranks] == [0, 0]


RANK = """
import sys
import torch
from torch.nn import functional as F
from gaussiancross.core.losses.clipgs import image_voting, text_contrast

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
g = torch.Generator().manual_seed(0)
x, texts, images = (F.normalize(torch.randn(*s, generator=g), dim=-1) for s in ((6, 4), (6, 5), (6, 3, 5)))
ids, weights = torch.tensor([0, 1, 0, 2, 2, 2]), torch.full((6, 3), 1 / 3)
layer = torch.nn.Linear(4, 5)
torch.nn.init.constant_(layer.weight, 0.1); torch.nn.init.constant_(layer.bias, 0.2)
with torch.no_grad():
    layer.weight += torch.arange(20.0).view(5, 4) / 10

def loss(rows, gather=None):
    o, s = F.normalize(layer(x[rows]), dim=-1), torch.tensor(5.0)
    return text_contrast(o, texts[rows], s, ids[rows], gather) + image_voting(
        o, images[rows], weights[rows], s, ids[rows], gather)

own = torch.autograd.grad(loss(slice(rank * 3, rank * 3 + 3)), layer.weight)[0]
torch.distributed.all_reduce(own)
alone = lambda t: t
whole = torch.autograd.grad(loss(slice(None), alone), layer.weight)[0]
torch.testing.assert_close(own / 2, whole, atol=1e-6, rtol=1e-4)
torch.distributed.destroy_process_group()
"""
