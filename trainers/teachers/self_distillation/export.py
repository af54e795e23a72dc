"""Export of the trained label-free teacher: weights, card and image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ....core.config import to_dict
from ....core.datasets.rooms import Rooms
from ....core.features.pca import PcaBasis
from ....core.io.atomic import atomic_dir
from ....core.io.images import write_color
from ....core.nn.tokens import TokenNet
from ....core.teachers.builtin_ssl import CARD, WEIGHTS, BuiltinSslTeacher
from .scores import LabelledFrames, ProbeScores, baselines, labelled_frames, linear_probe, network_features, settle
from .train import SslTrainer, SslTraining

PICTURE = Path("readme") / "builtin_ssl.jpg"
FIT_ROOMS, FIT_FRAMES, TEST_FRAMES = 24, 3, 4
"""Linear probe: number of training rooms, frames per training room, frames per held-out room."""
_DESCRIPTION = (
    "A small convolutional network trained by self-distillation on colour images of procedural rooms alone: no labels, "
    "no captions, no depth, no poses. It knows synthetic renders and is no replacement for DINOv2 on photographs."
)
_PROTOCOL = (
    "Logistic regression on standardised tokens (stride 8 at 320 × 240), ScanNet's 20 classes, mIoU and mean accuracy "
    "over classes that occur; fitted to {fit} frames of training rooms {rooms}, scored on {test} frames of the "
    "held-out rooms. Labels served this measurement alone."
)


def export(trainer: SslTrainer, folder: Path) -> dict[str, ProbeScores]:
    """Write weights (half precision), card and image; the exported weights are the ones that are measured.

    Returns:
        the scores of the exported teacher and of the baselines, by name.

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    config = trainer.config
    net = exported_network(trainer)
    weights = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    card = {
        "name": "builtin-ssl",
        "licence": "Apache-2.0",
        "label_free": True,
        "description": _DESCRIPTION,
        "command": command(config),
        "training_seeds": [0, config.rooms - 1],
        "batch_seed": config.seed,
        "parameters": sum(p.numel() for p in net.parameters()),
        "config": to_dict(config.model),
    }
    with atomic_dir(folder) as staging:
        save_file({k: v.contiguous() for k, v in weights.items()}, staging / WEIGHTS)
        _write_card(staging, card)
    teacher = BuiltinSslTeacher(folder)
    fit, test = sample("train", min(FIT_ROOMS, config.rooms), FIT_FRAMES), sample("val", config.held_out, TEST_FRAMES)
    scores = {teacher.info.name: linear_probe(teacher.maps, fit, test), **baselines(config.model, fit, test)}
    rooms = f"0–{min(FIT_ROOMS, config.rooms) - 1}"
    card["held_out_seeds"] = [Rooms("val", config.held_out).seed(i) for i in (0, -1)]
    card["protocol"] = _PROTOCOL.format(fit=len(fit.images), test=len(test.images), rooms=rooms)
    card["scores_on_held_out_rooms"] = {name: s.summary() for name, s in scores.items()}
    with atomic_dir(folder) as staging:
        _write_card(staging, card)
    (folder / PICTURE).parent.mkdir(exist_ok=True)
    write_color(folder / PICTURE, feature_sheet(teacher, test))
    return scores


def command(config: SslTraining) -> str:
    """Return the command that trains the same network."""
    return (
        f"python -m gaussiancross.trainers.teachers.self_distillation --rooms {config.rooms} --steps {config.steps} "
        f"--batch {config.batch} --lr {config.lr} --seed {config.seed} --threads 1 --export assets"
    )


def sample(split: str, rooms: int, per_room: int) -> LabelledFrames:
    """Return `labelled_frames` of the first rooms of a split."""
    return labelled_frames(Rooms(split, rooms), rooms, per_room)


def exported_network(trainer: SslTrainer, count: int = 48) -> TokenNet:
    """Copy the teacher network, with normalisations and output fitted to ``count`` whole training images."""
    net = trainer.teacher["net"]
    assert isinstance(net, TokenNet)
    picked = np.linspace(0, len(trainer.frames) - 1, min(count, len(trainer.frames))).round().astype(int)
    images = torch.from_numpy(np.stack([trainer.frames[int(i)]() for i in picked]))
    exported = TokenNet(net.config)
    exported.load_state_dict(net.state_dict())
    settle(exported, images)
    standardise(exported, images)
    return exported


@torch.no_grad()
def standardise(net: TokenNet, images: Tensor) -> None:
    """Rescale the last layer so that every channel has mean 0 and variance 1 over images [F, H, W, 3].

    Cosines between features then compare their differences, not their common mean.
    """
    features = network_features(net)
    x = torch.cat([features(part).flatten(0, 2) for part in images.split(8)]).double()
    mean, std = x.mean(0).float(), x.std(0).float().clamp_min(1e-6)
    assert net.out.bias is not None
    net.out.bias.sub_(mean).div_(std)
    net.out.weight.div_(std[:, None, None, None])


def feature_sheet(teacher: BuiltinSslTeacher, frames: LabelledFrames, count: int = 6) -> np.ndarray:
    """Draw frames above the first three principal components of their features, with one basis for all.

    Returns:
        [2 H, count · W, 3] uint8.
    """
    picked = [int(i) for i in np.linspace(0, len(frames.images) - 1, count).round()]
    images = frames.images[picked]
    maps = teacher.maps(images)
    colors = PcaBasis.fit(maps.flatten(0, 2)).rgb(maps).permute(0, 3, 1, 2)
    colors = F.interpolate(colors, images.shape[1:3], mode="nearest").permute(0, 2, 3, 1)
    rows = [torch.cat(list(row), 1) for row in (images, colors)]
    return (torch.cat(rows) * 255).round().byte().numpy()


def _write_card(folder: Path, card: dict) -> None:
    (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
