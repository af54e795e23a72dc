"""Micro-batches, and evaluation in the training's precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.trainers.pretraining.evaluation import evaluate
from gaussiancross.trainers.pretraining.trainer import Pretrainer


def gradients(run):
    """Gradients and scalars of the first step."""
    metrics = run.train_step(run.batch(0))
    return {n: p.grad.clone() for n, p in run.model.named_parameters() if p.grad is not None}, metrics


def test_gradients_are_those_of_the_whole_batch(config, tmp_path):
    """Three scenes in parts of one and two. Batch norms are held at their running statistics: those of a part are
    others than those of the batch."""
    seen, results, model = [], [], replace(config.model, own_statistics=False)
    for micro in (0, 2):
        options = replace(config, model=model, data=replace(config.data, batch_size=3, micro_batch=micro))
        run = Pretrainer(options, tmp_path / str(micro), device="cpu")
        run.model.eval().train = lambda mode=True, run=run: run.model
        forward = run.model.forward
        run.model.forward = lambda batch, forward=forward: (seen.append(len(batch.views)), forward(batch))[1]
        results.append(gradients(run))
    (whole, logged), (parts, logged_in_parts) = results
    assert seen == [3, 1, 2]
    for name, value in whole.items():
        assert torch.allclose(parts[name], value, rtol=1e-3, atol=1e-5 * float(value.abs().max()) + 1e-8), name
    for name in ("loss/total", "loss/rgb", "train/psnr", "gaussians"):
        assert logged_in_parts[name] == pytest.approx(logged[name], rel=1e-4)


def test_a_negative_number_is_refused(make_run, config):
    with pytest.raises(InputError, match="micro_batch"):
        make_run(data=replace(config.data, micro_batch=-1))


@pytest.mark.parametrize("amp", [False, True])
def test_evaluation_runs_in_the_precision_of_the_training(make_run, amp):
    run, seen = make_run(), []
    run.model.lattice_net.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    run._amp = amp
    run.evaluate()
    assert set(seen) == {torch.bfloat16 if amp else torch.float32}
    seen.clear()
    evaluate(run.model, run.data)  # on the CPU without it
    assert set(seen) == {torch.float32}
