"""Exported images, videos, splats, features and offline pages, read back."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.app.export.camera_path import Pose, dataset_path, orbit, spline
from gaussiancross.app.export.files import checked_selection, features_work, file_name, selection_work, splats_work
from gaussiancross.app.export.offline import Labels, kept, packed, page_title, page_work
from gaussiancross.app.export.pictures import MAX_SIDE, picture_work
from gaussiancross.app.export.video import path_work, video_work
from gaussiancross.app.export.video_files import find_ffmpeg
from gaussiancross.app.export.work import Download, Progress, finish
from gaussiancross.app.inspector.jobs import Exports, limited
from gaussiancross.app.render.options import RenderOptions
from gaussiancross.app.render.renderer import Renderer
from gaussiancross.app.scenes.geometry import centers_in_world, world_gaussians
from gaussiancross.app.scenes.source import SceneState, SplatsSource
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.gaussians import quat_to_rotmat
from gaussiancross.core.io import read_gaussians, read_splat
from gaussiancross.core.splat import rasterize
from helpers.inspector import as_gaussians, box_frames, box_room
from PIL import Image


def room(features: bool = True) -> Renderer:
    scene = box_room(12)
    values = torch.cat([torch.from_numpy(scene.coord), torch.from_numpy(scene.normal)], 1) if features else None
    renderer = Renderer(SplatsSource(as_gaussians(scene, values), "box", frames=box_frames(), device="cpu"))
    renderer.load(0)
    return renderer


def inside(yaw: float = 0.0) -> Pose:
    """A camera in the middle of the room that looks along x, turned by ``yaw`` around z."""
    c, s = np.cos(yaw), np.sin(yaw)
    forward, right = np.array([c, s, 0.0]), np.array([s, -c, 0.0])
    return Pose(np.array([2.0, 1.5, 1.2]), np.stack([right, [0.0, 0.0, -1.0], forward], 1), 1.0)


def turned_state() -> SceneState:
    """A state whose Gaussians live in a turned, doubled and mirrored world."""
    g = as_gaussians(box_room(8))
    quats = torch.nn.functional.normalize(torch.randn(len(g), 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    scales = torch.rand(len(g), 3, generator=torch.Generator().manual_seed(1)) * 0.1 + 0.02
    linear = 2 * torch.tensor([[0.0, -1, 0], [-1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, :3], transform[:3, 3] = linear, torch.tensor([1.0, -2, 0.5])
    return SceneState("box", gaussians=replace(g, quats=quats, scales=scales), transform=transform)


class TestPictures:
    def test_png_of_strips_is_the_picture(self, monkeypatch):
        monkeypatch.setattr("gaussiancross.app.export.pictures.STRIP_PIXELS", 400_000)
        renderer, pose = room(), inside()
        download = finish(picture_work(renderer, 0, RenderOptions(layer="RGB"), pose, 1300, 900, "x"))
        read = np.asarray(Image.open(io.BytesIO(download.content)).convert("RGB")).astype(int)
        whole = renderer.draw(0, RenderOptions(layer="RGB"), pose.cameras(1300, 900)).image
        assert download.name == "x.png" and read.shape == (900, 1300, 3)
        assert np.abs(read - whole).max() <= 10 and np.abs(read - whole).mean() < 0.5

    def test_legend_is_drawn_once(self, monkeypatch):
        monkeypatch.setattr("gaussiancross.app.export.pictures.STRIP_PIXELS", 400_000)
        renderer, pose = room(), inside()
        download = finish(picture_work(renderer, 0, RenderOptions(layer="Depth"), pose, 1300, 900, "x"))
        read = np.asarray(Image.open(io.BytesIO(download.content)).convert("RGB")).astype(int)
        whole = renderer.draw(0, RenderOptions(layer="Depth"), pose.cameras(1300, 900)).image
        assert (np.abs(read - whole).max(-1) > 24).mean() < 1e-3

    def test_two_layers_and_sheets(self):
        renderer = room()
        for look in (RenderOptions(layer="RGB", second="Depth", mix="Split"), RenderOptions(layer="Views")):
            download = finish(picture_work(renderer, 0, look, inside(), 320, 240, "x"))
            assert Image.open(io.BytesIO(download.content)).size == (320, 240)

    def test_size_is_capped(self):
        for size in ((MAX_SIDE + 1, 100), (100, MAX_SIDE + 1), (8, 100)):
            with pytest.raises(InputError, match="pixels on either side"):
                finish(picture_work(room(), 0, RenderOptions(), inside(), *size, "x"))


class TestVideos:
    @pytest.mark.parametrize("kind", ["GIF", "MP4"])
    def test_frames_come_back(self, kind, tmp_path: Path):
        if kind == "MP4" and find_ffmpeg() is None:
            pytest.skip("no ffmpeg here")
        levels = [20, 120, 220]
        work = video_work(lambda i: np.full((48, 64, 3), levels[i], np.uint8), 3, 64, 48, 5, kind, "v")
        download = finish(work)
        assert download.name == f"v.{kind.lower()}"
        if kind == "GIF":
            movie = Image.open(io.BytesIO(download.content))
            assert movie.n_frames == 3 and movie.size == (64, 48) and movie.info["loop"] == 0
            for i, level in enumerate(levels):
                movie.seek(i)
                assert movie.info["duration"] == 200
                assert np.abs(np.asarray(movie.convert("RGB")).astype(int) - level).max() <= 2
        else:
            import subprocess

            path = tmp_path / "v.mp4"
            path.write_bytes(download.content)
            command = [find_ffmpeg(), "-loglevel", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
            raw = subprocess.run(command, capture_output=True, check=True).stdout
            read = np.frombuffer(raw, np.uint8).reshape(-1, 48, 64).astype(int)
            assert len(read) == 3 and np.abs(read.mean((1, 2)) - levels).max() < 6

    def test_gif_keeps_its_pace_over_many_frames(self):
        download = finish(video_work(lambda i: np.full((16, 16, 3), i, np.uint8), 30, 16, 16, 15, "GIF", "v"))
        movie, total = Image.open(io.BytesIO(download.content)), 0
        for i in range(movie.n_frames):
            movie.seek(i)
            total += movie.info["duration"]
        assert abs(total - 2000) <= 10

    def test_a_stopped_video_leaves_nothing(self):
        if find_ffmpeg() is None:
            pytest.skip("no ffmpeg here")
        import tempfile

        before = set(Path(tempfile.gettempdir()).glob("gaussiancross-*"))
        work = video_work(lambda i: np.zeros((64, 64, 3), np.uint8), 100, 64, 64, 5, "MP4", "v")
        next(work)
        assert set(Path(tempfile.gettempdir()).glob("gaussiancross-*")) - before
        work.close()
        assert not set(Path(tempfile.gettempdir()).glob("gaussiancross-*")) - before

    def test_path_is_rendered_pose_by_pose(self):
        renderer = room()
        path = orbit(inside(), np.array([2.0, 1.5, 1.2]), np.array([0, 0, 1.0]), 4)
        movie = Image.open(
            io.BytesIO(
                finish(path_work(renderer, 0, RenderOptions(layer="Alpha"), path, (64, 48), 5, "GIF", "v")).content
            )
        )
        movie.seek(2)
        expected = renderer.draw(0, RenderOptions(layer="Alpha"), inside(np.pi).cameras(64, 48)).image
        assert np.abs(np.asarray(movie.convert("RGB")).astype(int) - expected).mean() < 6

    def test_limits(self):
        with pytest.raises(InputError, match="frames"):
            finish(video_work(lambda i: np.zeros((16, 16, 3), np.uint8), 5000, 16, 16, 5, "GIF", "v"))
        with pytest.raises(InputError, match="pixels"):
            finish(video_work(lambda i: np.zeros((16, 16, 3), np.uint8), 5, 4000, 16, 5, "GIF", "v"))


class TestPaths:
    def test_spline_passes_through_its_key_frames(self):
        keys = [inside(0.0), replace(inside(1.0), position=np.array([1.0, 1.0, 1.0])), inside(2.0)]
        poses = spline(keys, 201)
        assert np.allclose(poses[0].position, keys[0].position) and np.allclose(poses[-1].rotation, keys[-1].rotation)
        assert min(np.abs(p.rotation - keys[1].rotation).max() + np.abs(p.position - 1).max() for p in poses) < 0.03
        for pose in poses:
            assert np.allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-6)
        steps = np.linalg.norm(np.diff([p.position for p in poses], axis=0), axis=1)
        assert steps.max() < 0.03  # no jumps

    def test_closed_path_comes_back(self):
        keys = [replace(inside(a), position=np.array([np.cos(a), np.sin(a), 1.0])) for a in (0.0, 1.5, 3.0, 4.5)]
        poses = spline(keys, 100, loop=True)
        positions = np.array([p.position for p in poses])
        gaps = np.linalg.norm(np.diff(np.concatenate([positions, positions[:1]]), axis=0), axis=1)
        assert gaps[-1] < 2 * np.median(gaps) and np.allclose(positions[0], keys[0].position)

    def test_one_or_equal_key_frames_stand_still_and_none_is_an_error(self):
        assert len(spline([inside()], 5)) == 5
        assert len(spline([inside(), inside()], 5)) == 5
        with pytest.raises(InputError, match="key frame"):
            spline([], 5)

    def test_orbit_keeps_looking_at_its_target(self):
        target = np.array([3.0, 1.5, 1.2])
        for pose in orbit(inside(), target, np.array([0, 0, 2.0]), 12):
            away = target - pose.position
            assert np.allclose(pose.rotation[:, 2], away / np.linalg.norm(away))

    def test_dataset_path(self):
        cameras = box_frames(4).cameras
        poses = dataset_path(cameras, 31)
        assert len(poses) == 31
        assert np.allclose(poses[-1].rotation, cameras.camera_to_worlds[-1, :3, :3].numpy(), atol=1e-5)


class TestSplats:
    def test_ply_reads_back_equal(self, tmp_path: Path):
        renderer = room()
        state = renderer.state(0)
        download = finish(splats_work(state, "ply", None, "box"))
        (tmp_path / download.name).write_bytes(download.content)
        read = read_gaussians(tmp_path / "box.ply")
        for name in ("means", "scales", "opacities", "colors"):
            assert torch.allclose(getattr(read, name), getattr(state.gaussians, name), atol=1e-5), name

    def test_splat_of_a_selection(self, tmp_path: Path):
        state = room().state(0)
        chosen = np.array([3, 5, 100])
        download = finish(splats_work(state, "splat", chosen, "box"))
        (tmp_path / "box.splat").write_bytes(download.content)
        read = read_splat(tmp_path / "box.splat")
        assert torch.allclose(read.means, state.gaussians.means[torch.from_numpy(chosen)])

    def test_world_gaussians_look_the_same_from_world_cameras(self):
        state = turned_state()
        cameras = inside().cameras(80, 60)
        seen = state.cameras(cameras)
        expected = rasterize(state.gaussians, seen.viewmats, seen.Ks, 80, 60)
        world = world_gaussians(state)
        got = rasterize(world, cameras.viewmats, cameras.Ks, 80, 60)
        assert torch.allclose(world.means.double(), torch.from_numpy(centers_in_world(state)).double(), atol=1e-5)
        assert (expected.color - got.color).abs().max() < 2e-3
        assert torch.allclose(torch.linalg.det(quat_to_rotmat(world.quats)), torch.ones(len(world)), atol=1e-4)

    def test_points_as_ply(self, tmp_path: Path):
        from gaussiancross.core.io import read_points

        scene = box_room(8)
        download = finish(splats_work(SceneState("box", points=scene), "ply", None, "box"))
        (tmp_path / "box.ply").write_bytes(download.content)
        assert np.allclose(read_points(tmp_path / "box.ply").coord, scene.coord)
        with pytest.raises(InputError, match="Gaussians"):
            finish(splats_work(SceneState("box", points=scene), "splat", None, "box"))

    def test_features(self):
        state = room().state(0)
        rows = np.load(io.BytesIO(finish(features_work(state, np.array([1, 2]), "f")).content))
        assert np.array_equal(rows, state.embeddings[1:3].numpy()) and rows.dtype == np.float32
        with pytest.raises(InputError, match="features"):
            finish(features_work(room(False).state(0), None, "f"))

    def test_selection(self):
        state = room().state(0)
        download = finish(selection_work(state, np.array([4, 9]), "run", "s"))
        with zipfile.ZipFile(io.BytesIO(download.content)) as file:
            assert np.load(io.BytesIO(file.read("s.npy"))).tolist() == [4, 9]
            about = json.loads(file.read("s.json"))
        assert about["indices"] == [4, 9] and about["of"] == "gaussians" and about["total"] == len(state.gaussians)

    def test_checked_selection(self):
        mask = np.zeros(10, bool)
        mask[[2, 7]] = True
        assert checked_selection(mask, 10).tolist() == [2, 7]
        assert checked_selection(torch.tensor([7, 2, 2]), 10).tolist() == [2, 7]
        for bad in (None, [], [10], [-1]):
            with pytest.raises(InputError, match="selection"):
                checked_selection(bad, 10)


class TestPage:
    def test_records_read_back(self):
        g = replace(as_gaussians(box_room(8)), scales=torch.rand(384, 3) * 0.2 + 0.01)
        painted = np.arange(384 * 3, dtype=np.uint8).reshape(-1, 3)
        labels = Labels(np.arange(384) % 7 - 1, tuple("abcdef"), np.zeros((6, 3), np.uint8))
        record, meta = packed(g, painted, labels)
        assert record.dtype.itemsize == 24
        low, span = np.array(meta["low"]), np.array(meta["span"])
        assert np.abs(low + span * record["at"] / 65535 - g.means.numpy()).max() < 1e-4
        scales = np.exp(meta["logs"][0] + meta["logs"][1] * record["scale"][:, :3] / 255)
        assert np.abs(scales / g.scales.numpy() - 1).max() < 0.02
        assert np.array_equal(record["paint"][:, :3], painted)
        assert set(record["label"][labels.index < 0]) == {6}

    def test_page_is_one_file_without_a_request(self):
        renderer = room()
        work = page_work(renderer, 0, inside(), np.array([4.0, 1.5, 1.2]), None, "box")
        text = finish(work).content.decode()
        assert "http://" not in text and "https://" not in text and "src=" not in text
        assert "__META__" not in text and "__DATA__" not in text
        meta = json.loads(text.split('id="meta">')[1].split("</script>")[0])
        assert meta["count"] == len(renderer.state(0).gaussians) and meta["modes"] == ["RGB", "Features"]

    def test_names_cannot_break_out_of_the_page(self):
        scene = box_room(8)
        source = SplatsSource(as_gaussians(scene), "</script><script>alert(1)</script>", device="cpu")
        renderer = Renderer(source)
        renderer.load(0)
        text = finish(page_work(renderer, 0, inside(), np.zeros(3), None, "x")).content.decode()
        assert "alert(1)</script>" not in text and text.count("<script") == room_scripts()

    def test_titles_contain_no_local_path(self):
        assert page_title("step 600 of /home/me/secret/run", "room") == "step 600 of run: room"
        assert page_title("room.ply", "room.ply") == "room.ply"

    def test_the_largest_gaussians_are_exported(self):
        g = as_gaussians(box_room(8))
        g.scales[10:20] = 1.0
        g.means[15] = torch.nan
        assert kept(g, np.arange(len(g)), 9).tolist() == [10, 11, 12, 13, 14, 16, 17, 18, 19]
        assert kept(g, np.array([3, 5]), 9).tolist() == [3, 5]


def room_scripts() -> int:
    from gaussiancross.app.export import offline

    return Path(offline.__file__).with_name("offline.html").read_text(encoding="utf-8").count("<script")


class FakeWorker:
    """Runs a session's jobs when told to."""

    def __init__(self) -> None:
        self.waiting: list = []
        self.sent: list[tuple[str, bytes]] = []
        self.closed = False
        self.client = self

    def ask(self, kind, run, lane="interactive"):
        assert (kind, lane) == ("export", "background")
        self.waiting = [run]

    def send_file_download(self, name, content, save_immediately=False):
        self.sent.append((name, content))

    def run(self) -> None:
        run, self.waiting = self.waiting.pop(), []
        run()


class TestJobs:
    def test_slices_then_download(self, monkeypatch):
        monkeypatch.setattr("gaussiancross.app.inspector.jobs.SLICE", 0.0)
        session, slices = FakeWorker(), 0
        exports = Exports(session)  # type: ignore[arg-type]

        def work():
            for i in range(5):
                yield Progress(i / 5)
            return Download("a.txt", b"x")

        exports.start("thing", work())
        with pytest.raises(InputError, match="one at a time"):
            exports.start("another", work())
        while session.waiting:
            session.run()
            slices += 1
        assert slices > 3 and session.sent == [("a.txt", b"x")] and exports.job.done

    def test_stop_cleans_up_and_sends_nothing(self):
        session, cleaned = FakeWorker(), []
        exports = Exports(session)  # type: ignore[arg-type]

        def work():
            try:
                while True:
                    yield Progress(0.5, waiting=True)
            finally:
                cleaned.append(True)

        exports.start("thing", work())
        session.run()
        assert not session.waiting and exports.job.share == 0.5  # waits for the pulse, not in circles
        exports.pulse()
        session.run()
        exports.stop()
        session.run()
        assert cleaned and not session.sent and exports.job.done
        exports.start("next", work())

    def test_failure_ends_the_job(self):
        session = FakeWorker()
        exports = Exports(session)  # type: ignore[arg-type]

        def work():
            yield Progress(0.1)
            raise InputError("a", "b", "c")

        exports.start("thing", work())
        with pytest.raises(InputError):
            session.run()
        assert exports.job.done and not session.waiting

    def test_huge_files_are_not_sent(self):
        def work():
            yield Progress(0.1)
            return Download("a", b"12345")

        assert finish(limited(work(), 5)).content == b"12345"
        with pytest.raises(InputError, match="gaussiancross export"):
            finish(limited(work(), 4))


def test_file_names_are_harmless():
    assert file_name("../../etc/passwd", "RGB error", None) == "etc-passwd-RGB-error"
    assert file_name("—") == "gaussiancross"
    assert len(file_name("x" * 500)) == 120
