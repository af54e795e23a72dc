"""Lovász-softmax against Pointcept's values and gradients, its definition written out, and 1 − IoU itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussiancross.core.losses import segmentation as losses
from gaussiancross.core.losses.segmentation import lovasz_softmax
from gaussiancross.core.metrics import confusion_matrix, semantic_scores
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@pytest.fixture(scope="module")
def golden(shared_data):
    return dict(np.load(shared_data / "golden" / "lovasz.npz", allow_pickle=False))


def value_and_gradient(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, torch.Tensor]:
    logits = logits.clone().requires_grad_()
    loss = lovasz_softmax(logits, labels)
    loss.backward()
    assert logits.grad is not None
    return loss.item(), logits.grad


@pytest.mark.parametrize("prefix", ["", "single_"])
def test_values_and_gradients_are_those_of_pointcept(golden, prefix):
    logits, labels = (torch.from_numpy(golden[prefix + name]) for name in ("logits", "labels"))
    loss, gradient = value_and_gradient(logits.double(), labels)
    assert loss == pytest.approx(float(golden[prefix + "loss_f64"]), rel=1e-10)
    np.testing.assert_allclose(gradient.numpy(), golden[prefix + "grad_f64"], atol=1e-12)
    loss, gradient = value_and_gradient(logits.float(), labels)
    assert loss == pytest.approx(float(golden[prefix + "loss_f64"]), rel=1e-5)
    np.testing.assert_allclose(gradient.numpy(), golden[prefix + "grad_f64"], atol=1e-7)


def by_definition(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The extension of the set function Δ(wrong) = 1 − IoU of a class when the points in ``wrong`` are wrong."""
    losses = []
    probability = logits[labels >= 0].softmax(1)
    labels = labels[labels >= 0]
    for c in sorted(set(labels.tolist())):
        members = {i for i, y in enumerate(labels.tolist()) if y == c}

        def jaccard_loss(wrong: set[int], members: set[int] = members) -> float:
            return 1 - len(members - wrong) / len(members | wrong)

        errors = [1 - row[c] if i in members else row[c] for i, row in enumerate(probability)]
        wrong: set[int] = set()
        total = probability.new_zeros(())
        for i in sorted(range(len(errors)), key=lambda i, errors=errors: -errors[i].item()):
            total = total + errors[i] * (jaccard_loss(wrong | {i}) - jaccard_loss(wrong))
            wrong.add(i)
        losses.append(total)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("chunk", [1, 60, 1 << 24])  # one class at a time, two, all
@pytest.mark.parametrize("seed", range(5))
def test_is_the_extension_of_the_jaccard_loss(seed, chunk, monkeypatch):
    monkeypatch.setattr(losses, "LOVASZ_CHUNK", chunk)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, 4, (30,), generator=generator)  # class 4 is absent
    reference = logits.clone().requires_grad_()
    expected = by_definition(reference, labels)
    expected.backward()
    loss, gradient = value_and_gradient(logits, labels)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(gradient, reference.grad, rtol=0, atol=1e-14)
    assert not gradient[labels < 0].any()


class LargestCount(TorchDispatchMode):
    """Notes the elements of the largest tensor of integers or truth values that is made."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        counts = (t for t in tree_leaves(made) if isinstance(t, torch.Tensor) and not t.is_floating_point())
        self.most = max(self.most, *(t.numel() for t in counts), 0)
        return made


def test_sorted_errors_of_all_classes_are_never_in_memory_at_once(monkeypatch):
    monkeypatch.setattr(losses, "LOVASZ_CHUNK", 3000)
    logits, labels = torch.randn(1000, 40), torch.arange(1000) % 40
    with LargestCount() as made:
        value_and_gradient(logits, labels)
    assert 1000 <= made.most <= 3000


def test_a_value_alone_needs_no_gradient():
    logits, labels = torch.randn(50, 4), torch.arange(50) % 4
    with torch.no_grad():
        loss = lovasz_softmax(logits, labels)
    assert loss == value_and_gradient(logits, labels)[0] and not loss.requires_grad


def test_of_certain_predictions_is_one_minus_iou():
    generator = torch.Generator().manual_seed(0)
    labels, guess = torch.randint(0, 4, (2, 200), generator=generator)
    loss = lovasz_softmax(100.0 * torch.nn.functional.one_hot(guess, 4), labels)
    iou = semantic_scores(confusion_matrix(guess, labels, 4)).iou
    assert loss.item() == pytest.approx(1 - float(iou.mean()), abs=1e-6)


def test_nothing_labelled_is_zero_with_zero_gradients():
    loss, gradient = value_and_gradient(torch.randn(5, 3), torch.full((5,), -1))
    assert loss == 0 and gradient.shape == (5, 3) and not gradient.any()


def test_half_precision_is_computed_in_single():
    logits, labels = torch.randn(40, 6).bfloat16(), torch.arange(40) % 6
    assert lovasz_softmax(logits, labels).item() == pytest.approx(lovasz_softmax(logits.float(), labels).item())


def test_another_label_can_be_ignored():
    logits, labels = torch.randn(20, 3), torch.arange(20) % 3
    marked = torch.where(labels == 2, 255, labels)
    ignored = torch.where(labels == 2, -1, labels)
    assert lovasz_softmax(logits, marked, ignore=255) == lovasz_softmax(logits, ignored)
