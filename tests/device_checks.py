"""Models, trainers and renderer on a simulated device, compared with the CPU; `test_devices.py` runs it.

What it cannot show is CUDA's kernels: splats and sparse convolutions are the references here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussiancross.app.query import picking
from gaussiancross.app.render.catalog import LAYERS
from gaussiancross.app.render.options import RenderOptions
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.app.render.scores import ClassScores, Heat
from gaussiancross.app.scenes.geometry import world_gaussians
from gaussiancross.app.scenes.source import LiveSource
from gaussiancross.core.query import Query, QueryableFeatures, ask
from gaussiancross.core.splat import api
from gaussiancross.trainers.clipgs.trainer import ClipGSTrainer, embed_triplets
from gaussiancross.trainers.downstream import CachedFeatureProbe, SemanticTrainer
from gaussiancross.trainers.downstream.instances import InstanceTrainer
from gaussiancross.trainers.engine.live import LiveFeed
from gaussiancross.trainers.gaussian_fitting.object import FAST, fit_gaussians
from gaussiancross.trainers.pretraining.contrastive_baseline import ContrastiveConfig, ContrastiveTrainer
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from helpers.box_room import SMALL as PRETRAIN
from helpers.box_room import write_box_room
from helpers.clipgs import small_clipgs_run, write_shape_triplets
from helpers.fitting import ball_pictures
from helpers.inspector import at_frame
from helpers.labelled_scenes import SMALL, labelled_scenes
from helpers.pretended_device import DEVICE, NAME, Held, pretended
from helpers.shelves import SMALL as INSTANCES
from helpers.shelves import shelves
from helpers.step_counter import StepCounter
from rich.console import Console

QUIET = Console(quiet=True)
BOTH = (torch.device("cpu"), DEVICE)
ABOUT = 0.3
"""Scores after three steps are this uncertain: few things are counted, and Adam makes much of rounding errors."""


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setitem(api.BACKEND_DEVICES, "reference", NAME)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are tiny: more threads would only wait for each other
    with pretended():
        yield DEVICE
    torch.set_num_threads(threads)


def trained(make, tmp_path):
    """Trainers that were made for either device, after two steps, a resume, and all that is left of the run."""
    trainers, steps = [], []
    for device in BOTH:
        trainer = make(device, tmp_path / device.type)
        steps.append([trainer.train_step(trainer.batch(step)) for step in range(2)])
        trainer.save()
        trainer = make(device, tmp_path / device.type)
        assert trainer.resume() and trainer.step == 2
        trainers.append((trainer, trainer.fit(console=QUIET)))
    (one, on_cpu), (other, elsewhere) = trainers
    assert all(isinstance(p, Held) for p in other.model.parameters())
    assert elsewhere == pytest.approx(on_cpu, abs=ABOUT, rel=0.1, nan_ok=True)
    for here, there, much in zip(*steps, (1e-3, 0.05), strict=True):  # Adam's first step makes much of rounding errors
        losses = {name: value for name, value in here.items() if name.startswith("loss/")}
        assert {name: there[name] for name in losses} == pytest.approx(losses, rel=much)
    return one, other


def test_mixing_devices_is_an_error(device):
    layer, x = torch.nn.Linear(3, 2).to(device), torch.rand(4, 3)
    with pytest.raises(RuntimeError, match="others on the CPU"):
        layer(x)
    with pytest.raises(TypeError, match="no array"):
        layer(x.to(device)).detach().numpy()
    with pytest.raises(RuntimeError, match="others on the CPU"):
        x[torch.tensor([0], device=device)]
    with pytest.raises(RuntimeError, match="others on the CPU"):
        torch.stack([x.to(device).sum(), torch.tensor(1.0)])
    with pytest.raises(RuntimeError, match="generator of that device"):
        torch.rand(3, device=device, generator=torch.Generator())
    assert x.to(device)[torch.tensor([0])].device == device  # CUDA takes indices from the CPU
    assert (x.to(device) * torch.tensor(2.0)).device == device  # and numbers


def semantic(**changes):
    scenes = labelled_scenes()
    config = replace(SMALL, steps=3, **changes)
    return lambda device, folder: SemanticTrainer(config, folder, scenes, device=device)


@pytest.mark.parametrize("changes", [{"norm": "train"}, {"norm": "own", "features": "hypercolumn", "micro_batch": 1}])
def test_segmentation(tmp_path, changes):
    for trainer in trained(semantic(**changes), tmp_path):
        assert trainer.test().miou_present > 0


def test_a_probe(tmp_path):
    config = replace(SMALL, frozen=True, norm="own", cache=True, features="hypercolumn")
    scenes = labelled_scenes()
    one, other = trained(lambda device, folder: CachedFeatureProbe(config, folder, scenes, device=device), tmp_path)
    assert other.test().miou_present == pytest.approx(one.test().miou_present, abs=0.02)


def test_instances(tmp_path):
    config, scenes = replace(INSTANCES, steps=3), shelves(2)
    trained(lambda device, folder: InstanceTrainer(config, folder, scenes, device=device), tmp_path)


def test_contrast(tmp_path):
    config, scenes = ContrastiveConfig(8, (8,) * 8, (1,) * 8, voxel_size=0.08, steps=3), labelled_scenes()
    trained(
        lambda device, folder: ContrastiveTrainer(config, folder, scenes.train, scenes.val, device=device), tmp_path
    )


def test_objects(tmp_path):
    (tmp_path / "triplets").mkdir()
    config = small_clipgs_run(write_shape_triplets(tmp_path / "triplets"))
    config = replace(config, epochs=1, optim=replace(config.optim, amp=False))
    one, other = trained(lambda device, folder: ClipGSTrainer(config, folder, device=device), tmp_path)
    here, there = (embed_triplets(trainer.model, trainer.data.train) for trainer in (one, other))
    torch.testing.assert_close(there, here, rtol=0.1, atol=0.1)


def test_objects_are_fitted_to_pictures(device):
    cameras, color, alpha, truth = ball_pictures()
    start = replace(truth, colors=torch.full_like(truth.colors, 0.5))
    config = replace(FAST, iterations=3, views=3, held_out=4)
    here, there = (fit_gaussians(start.to(d), cameras.to(d), color, alpha, config) for d in BOTH)
    torch.testing.assert_close(there.psnr.cpu(), here.psnr, rtol=0.01, atol=0.01)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return write_box_room(tmp_path_factory.mktemp("capture") / "room")


@pytest.mark.parametrize("lifted", [0, 2])
def test_pretraining_and_the_inspector(tmp_path, room, lifted):
    model = replace(PRETRAIN.model, input=replace(PRETRAIN.model.input, lifted_frames=lifted, pairs=20 * lifted))
    config = replace(PRETRAIN, model=model, data=replace(PRETRAIN.data, data=str(room), teacher="builtin"), steps=3)
    drawn = []
    for trainer in trained(lambda d, folder: Pretrainer(config, folder, device=d, feed=LiveFeed()), tmp_path):
        source = LiveSource(trainer.feed, trainer.data.train, trainer.data.teacher, device=trainer.device)
        renderer = Renderer(source)
        state = renderer.load(0)
        means = state.gaussians.means
        assert means.device == trainer.device
        heat = Heat(means[:, 0], 0, state.step, 0, 4, "x")
        halves = torch.eye(2, device=means.device)[(means[:, 0] > 0).long()]
        renderer.add_classes("halves", lambda index, state, scores=halves: ClassScores(scores, ("a", "b")))
        camera = at_frame(state, 1, 32, 24, turn=0.2)  # the reference splatter takes its time
        looks = [RenderOptions(layer=layer, frame=1, heat=heat, size=0.9) for layer in LAYERS]
        looks += [
            RenderOptions(second="Features", mix="Split", at=0.4),
            RenderOptions(keep=torch.arange(len(means)) % 2 == 0),
        ]
        drawn.append([renderer.draw(0, look, camera, with_depth=look.layer != "Views").image for look in looks])
        questions(state, trainer, camera)
    for one, other in zip(*drawn, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 4


def test_a_step_hardly_waits_for_the_device(tmp_path, room, monkeypatch):
    """Operators and blocking reads, gsplat's and spconv's own aside. With a loop over scenes, views and stages there
    were 51 reads for one scene, and 30 and 1,874 operators more for every further one."""
    model = replace(PRETRAIN.model, lattice="ponder", lattice_shape=(16, 16, 8), anchors="lattice", unet_norm="batch")
    counters, last = [], []
    for scenes in (1, 3):
        data = replace(PRETRAIN.data, data=str(room), teacher="builtin", views=5, batch_size=scenes)
        trainer = Pretrainer(replace(PRETRAIN, model=model, data=data), tmp_path / str(scenes), device=DEVICE)
        trainer.model.lattice_net.register_forward_pre_hook(
            lambda module, inputs: last.append(inputs[0].is_contiguous(memory_format=torch.channels_last_3d))
        )
        counter = StepCounter()
        with monkeypatch.context() as patch:
            patch.delitem(api.BACKEND_DEVICES, "reference")
            counter.patch(patch)
            with counter:
                trainer.train_step(trainer.batch(0))
        counters.append(counter)
    one, three = (sum(counter.operators.values()) for counter in counters)
    assert (three - one) / 2 <= 1363 / 2
    assert sum(counters[0].reads.values()) == sum(counters[1].reads.values()) <= 4
    assert counters[1].images == [(3, 5, 18, 24, 36)]  # one call for all scenes and views
    assert all(last)  # the cells reach the dense network as they were summed, without a copy


def questions(state, trainer, camera):
    picked = picking.pick(state, camera, 16, 12)
    assert picked is not None and picking.renewed([picked], state)[0].index == picked.index
    assert picking.pick_scores(state, [picked]).shape == (len(state.gaussians),)
    picking.in_rectangle(state, camera, (4, 4), (20, 20))
    words = QueryableFeatures.build(state.embeddings, trainer.data.teacher.text)
    answer = ask(words, Query(("chair", "wall")))
    assert answer.phrase_scores.shape == (len(state.gaussians), 2)
    assert len(world_gaussians(state)) == len(state.gaussians)


def test_an_encoder(tmp_path, room):
    scene = labelled_scenes().val.scene(0)
    here, there = (
        Pretrainer(replace(PRETRAIN, data=replace(PRETRAIN.data, data=str(room))), tmp_path, device=d).model.encode(
            scene.coord, scene.color, scene.normal, hypercolumn=True
        )
        for d in BOTH
    )
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-3)
