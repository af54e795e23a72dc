"""nerfstudio's commands on a finished run: `ns-eval`, `ns-render` and `ns-viewer`."""

from __future__ import annotations

import json
import socket
import sys
from types import SimpleNamespace
from urllib.request import urlopen

import numpy as np
import pytest
from helpers.box_room import SMALL, write_box_room
from PIL import Image

pytest.importorskip("nerfstudio", reason="needs the nerfstudio extra")

from gaussiancross.trainers.ns.config import GaussianCrossTrainerConfig
from nerfstudio.scripts import eval as ns_eval
from nerfstudio.scripts import render as ns_render
from nerfstudio.scripts import train as ns_train
from nerfstudio.scripts.viewer import run_viewer

CAMERA = {"camera_to_world": np.eye(4).flatten().tolist(), "fov": 60, "aspect": 4 / 3}
PATH = {"camera_type": "perspective", "render_height": 18, "render_width": 24, "seconds": 1, "camera_path": [CAMERA]}


@pytest.fixture(scope="module")
def config_yml(tmp_path_factory):
    """``config.yml`` of a run of one step without a teacher."""
    folder = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSIANCROSS_CACHE", str(folder / "cache"))
        config = GaussianCrossTrainerConfig.of("gaussiancross-tiny", SMALL)
        config.data, config.output_dir, config.vis = write_box_room(folder / "room"), folder, "tensorboard"
        config.experiment_name, config.timestamp, config.max_num_iterations = "e", "now", 1
        config.machine.device_type = "cpu"
        ns_train.main(config)
        yield config.get_base_dir() / "config.yml"


@pytest.fixture
def command(config_yml, monkeypatch, tmp_path):
    """Runs the program of a module of nerfstudio's scripts with arguments, in this process."""
    ffmpeg = tmp_path / "bin" / "ffmpeg"  # `ns-render` asks for it where it writes images, too
    ffmpeg.parent.mkdir()
    ffmpeg.write_text("#!/bin/sh\n")
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("PATH", str(ffmpeg.parent))

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments), "--load-config", str(config_yml)])
        module.entrypoint()

    return run


def test_ns_eval(command, tmp_path):
    command(ns_eval, "--output-path", tmp_path / "output.json")
    results = json.loads((tmp_path / "output.json").read_text())["results"]
    assert {"eval/psnr", "eval/depth_error"} <= set(results)


@pytest.mark.parametrize("kind", ["interpolate", "camera-path"])
def test_ns_render(command, tmp_path, kind):
    (tmp_path / "path.json").write_text(json.dumps(PATH))
    own = {
        "interpolate": ["--interpolation-steps", "2", "--rendered-output-names", "rgb", "depth", "accumulation"],
        "camera-path": ["--camera-path-filename", tmp_path / "path.json"],
    }[kind]
    command(ns_render, kind, *own, "--output-format", "images", "--output-path", tmp_path / "pictures")
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert len(pictures) == {"interpolate": 2, "camera-path": 1}[kind]
    width = 3 * 24 if kind == "interpolate" else 24
    assert Image.open(pictures[0]).size == (width, 18)


def test_ns_viewer(command, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    opened, answers = [], []

    class Viewer(run_viewer.ViewerState):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            opened.append(self)

    def ask(seconds):
        """In place of the sleep that the command repeats until Ctrl-C."""
        with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
            answers.append(page.status)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_viewer, "ViewerState", Viewer)
    monkeypatch.setattr(run_viewer, "time", SimpleNamespace(sleep=ask))
    try:
        with pytest.raises(KeyboardInterrupt):
            command(run_viewer, "--viewer.websocket-host", "127.0.0.1", "--viewer.websocket-port", port)
    finally:
        for viewer in opened:
            viewer.viser_server.stop()
    assert answers == [200]
