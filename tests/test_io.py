"""Files in and out: what is written comes back, and everything damaged is one clear sentence."""

import errno
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.gaussians import Gaussians
from gaussiancross.core.io import checkpoint as ckpt
from gaussiancross.core.io import (
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    read_array,
    read_color,
    read_depth,
    read_gaussians,
    read_labelled_gaussians,
    read_points,
    read_splat,
    save_checkpoint,
    write_color,
    write_depth,
    write_gaussians,
    write_points,
    write_splat,
)
from gaussiancross.core.io.lru import ArrayCache
from gaussiancross.core.io.ply_table import read_vertices, write_vertices

SPLATS = Path(__file__).parents[2] / "shared" / "data" / "splats"


def make_gaussians(n: int = 7, features: int = 3) -> Gaussians:
    g = torch.Generator().manual_seed(0)
    return Gaussians(
        means=torch.randn(n, 3, generator=g),
        quats=torch.nn.functional.normalize(torch.randn(n, 4, generator=g), dim=-1),
        scales=torch.rand(n, 3, generator=g) * 0.1 + 0.01,
        opacities=torch.rand(n, generator=g) * 0.9 + 0.05,
        colors=torch.rand(n, 3, generator=g),
        features=torch.randn(n, features, generator=g) if features else None,
    )


def make_points(n: int = 50) -> PointScene:
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((n, 3)).astype(np.float32)
    return PointScene(
        "cloud",
        rng.random((n, 3), dtype=np.float32),
        rng.integers(0, 256, (n, 3), dtype=np.uint8),
        normal / np.linalg.norm(normal, axis=1, keepdims=True),
        rng.integers(-1, 5, n),
        rng.integers(-1, 9, n),
    )


def some_cuts(size: int) -> list[int]:
    """Byte positions to truncate at: all of a short file, else the ends and some between."""
    if size < 1200:
        return list(range(size))
    return sorted({*range(0, 300, 7), *range(300, size, size // 60), *range(size - 25, size)})


class TestArrays:
    def test_round_trip_and_conversion(self, tmp_path: Path) -> None:
        array = np.arange(12, dtype=np.int16).reshape(4, 3)
        np.save(tmp_path / "a.npy", array)
        got = read_array(tmp_path / "a.npy", np.int64, (-1, 3))
        assert got.dtype == np.int64
        assert (got == array).all()
        mapped = read_array(tmp_path / "a.npy", mmap=True)
        assert isinstance(mapped, np.memmap)
        assert not mapped.flags.writeable
        assert read_array(tmp_path / "a.npy").flags.writeable

    def test_empty_array(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((0, 3), np.float32))
        assert read_array(tmp_path / "a.npy", np.float32, (-1, 3)).shape == (0, 3)

    def test_truncated_at_any_byte(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.arange(30, dtype=np.float32).reshape(10, 3))
        data = (tmp_path / "a.npy").read_bytes()
        for cut in range(len(data)):
            (tmp_path / "cut.npy").write_bytes(data[:cut])
            with pytest.raises(InputError, match=r"cut\.npy"):
                read_array(tmp_path / "cut.npy")

    @pytest.mark.parametrize(
        ("array", "dtype", "shape", "message"),
        [
            (np.zeros((4, 2), np.float32), np.float32, (-1, 3), r"\(N, 3\).*\(4, 2\)"),
            (np.zeros(4, np.float32), np.int64, None, "int64.*float32"),
            (np.array([70000]), np.int16, None, "int16.*70000"),
            (np.array([{}], object), None, None, "damaged"),
        ],
    )
    def test_wrong_content(self, tmp_path: Path, array: np.ndarray, dtype: type, shape: tuple, message: str) -> None:
        np.save(tmp_path / "a.npy", array, allow_pickle=True)
        with pytest.raises(InputError, match=message):
            read_array(tmp_path / "a.npy", dtype, shape)

    def test_missing_and_archive(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            read_array(tmp_path / "a.npy")
        np.savez(tmp_path / "a.npz", a=np.zeros(2))
        with pytest.raises(InputError, match="another kind of file"):
            read_array(tmp_path / "a.npz")

    def test_header_that_promises_terabytes_is_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((1, 3), np.float32))
        data = (tmp_path / "a.npy").read_bytes().replace(b"(1, 3), }           ", b"(999999999999, 3), }")
        (tmp_path / "b.npy").write_bytes(data)
        with pytest.raises(InputError, match="damaged"):
            read_array(tmp_path / "b.npy")


class TestImages:
    def test_round_trip(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        color = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        depth = rng.integers(0, 65536, (12, 16), dtype=np.uint16)
        write_color(tmp_path / "c.png", color)
        write_depth(tmp_path / "d.png", depth)
        assert (read_color(tmp_path / "c.png") == color).all()
        assert (read_depth(tmp_path / "d.png") == depth).all()

    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_truncated_color(self, tmp_path: Path, suffix: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        write_color(tmp_path / f"c.{suffix}", noise)
        data = (tmp_path / f"c.{suffix}").read_bytes()
        # a JPEG without its last bytes may still be a whole picture
        for cut in some_cuts(len(data) - (40 if suffix == "jpg" else 0)):
            (tmp_path / f"cut.{suffix}").write_bytes(data[:cut])
            with pytest.raises(InputError, match="cut"):
                read_color(tmp_path / f"cut.{suffix}")

    def test_truncated_depth(self, tmp_path: Path) -> None:
        write_depth(tmp_path / "d.png", np.arange(900, dtype=np.uint16).reshape(30, 30) * 71)
        data = (tmp_path / "d.png").read_bytes()
        for cut in some_cuts(len(data)):
            (tmp_path / "cut.png").write_bytes(data[:cut])
            with pytest.raises(InputError, match=r"cut\.png.*16-bit depth"):
                read_depth(tmp_path / "cut.png")

    def test_wrong_kind(self, tmp_path: Path) -> None:
        write_color(tmp_path / "c.png", np.zeros((4, 4, 3), np.uint8))
        write_depth(tmp_path / "d.png", np.zeros((4, 4), np.uint16))
        with pytest.raises(InputError, match="mode RGB"):
            read_depth(tmp_path / "c.png")
        with pytest.raises(InputError, match="8-bit colour"):
            read_color(tmp_path / "d.png")
        with pytest.raises(InputError, match="no such file"):
            read_color(tmp_path / "none.png")


class TestCache:
    def test_bounded_by_bytes_and_least_recently_used(self) -> None:
        cache, made = ArrayCache(max_bytes=250), []

        def get(key: int) -> None:
            cache.get(key, lambda: (made.append(key), (np.zeros(100, np.uint8),))[1])

        for key in (1, 2, 1, 3, 1, 2):
            get(key)
        assert made == [1, 2, 3, 2]  # 3 pushed out 2, not 1, which had just been used
        assert cache.nbytes == 200
        get(1)
        assert cache.get("large", lambda: (np.zeros(1000),))[0].size == 1000
        assert cache.nbytes == 200

    def test_entries_cannot_be_changed(self) -> None:
        array = ArrayCache().get(0, lambda: (np.zeros(3),))[0]
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


class TestSplatPly:
    def test_round_trip_with_features_and_labels(self, tmp_path: Path) -> None:
        g = make_gaussians()
        write_gaussians(tmp_path / "g.ply", g, np.arange(len(g)))
        back, labels = read_labelled_gaussians(tmp_path / "g.ply")
        for name in ("means", "quats", "features"):
            assert torch.equal(getattr(back, name), getattr(g, name)), name
        for name in ("scales", "opacities", "colors"):
            assert torch.allclose(getattr(back, name), getattr(g, name), atol=1e-6), name
        assert labels is not None
        assert (labels == np.arange(len(g))).all()

    def test_file_layout_is_inrias(self, tmp_path: Path) -> None:
        g = make_gaussians(features=0)
        write_gaussians(tmp_path / "g.ply", g)
        table = read_vertices(tmp_path / "g.ply")
        assert table.dtype.names is not None
        assert " ".join(table.dtype.names) == (
            "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3"
        )
        assert np.allclose(table["scale_1"], g.scales[:, 1].log(), atol=1e-6)
        assert np.allclose(table["opacity"], torch.logit(g.opacities), atol=1e-5)
        assert np.allclose(0.5 + 0.28209479177387814 * table["f_dc_2"], g.colors[:, 2], atol=1e-6)

    def test_opacities_of_zero_and_one_stay_finite(self, tmp_path: Path) -> None:
        g = make_gaussians(2, 0)
        g.opacities[:] = torch.tensor([0.0, 1.0])
        write_gaussians(tmp_path / "g.ply", g)
        assert torch.allclose(read_gaussians(tmp_path / "g.ply").opacities, torch.tensor([0.0, 1.0]), atol=1e-5)

    @pytest.mark.parametrize("rest", [0, 9, 24, 45])
    @pytest.mark.parametrize("normals", [True, False])
    def test_any_degree_with_or_without_normals(self, tmp_path: Path, rest: int, normals: bool) -> None:
        columns = splat_columns(5)
        columns = columns | {f"f_rest_{i}": np.ones(5, np.float32) for i in range(rest)}
        if not normals:
            columns = {k: v for k, v in columns.items() if k not in ("nx", "ny", "nz")}
        write_vertices(tmp_path / "g.ply", columns)
        g = read_gaussians(tmp_path / "g.ply")
        assert len(g) == 5
        assert torch.allclose(g.colors, make_gaussians(5).colors, atol=1e-6)

    def test_odd_number_of_harmonics(self, tmp_path: Path) -> None:
        write_vertices(tmp_path / "g.ply", splat_columns(3) | {"f_rest_0": np.zeros(3, np.float32)})
        with pytest.raises(InputError, match="f_rest"):
            read_gaussians(tmp_path / "g.ply")

    def test_points_instead_of_splats_lists_what_is_missing(self, tmp_path: Path) -> None:
        write_points(tmp_path / "p.ply", make_points())
        with pytest.raises(InputError, match=r"point cloud without f_dc_0.*opacity.*scale_0.*rot_3"):
            read_gaussians(tmp_path / "p.ply")

    def test_bad_rows_are_dropped_and_counted(self, tmp_path: Path) -> None:
        columns = splat_columns(6)
        columns["x"][1], columns["scale_2"][2] = np.nan, np.inf
        for i in range(4):
            columns[f"rot_{i}"][3] = 0
        write_vertices(tmp_path / "g.ply", columns | {"label": np.arange(6, dtype=np.int32)})
        with pytest.warns(UserWarning, match="dropped 3 of 6"):
            g, labels = read_labelled_gaussians(tmp_path / "g.ply")
        assert labels is not None
        assert labels.tolist() == [0, 4, 5]
        assert torch.equal(g.means, make_gaussians(6).means[[0, 4, 5]])

    def test_nothing_usable(self, tmp_path: Path) -> None:
        columns = splat_columns(2)
        columns["y"][:] = np.nan
        write_vertices(tmp_path / "g.ply", columns)
        with pytest.raises(InputError, match="none of 2"):
            read_gaussians(tmp_path / "g.ply")
        write_vertices(tmp_path / "e.ply", splat_columns(0))
        with pytest.raises(InputError, match="empty"):
            read_gaussians(tmp_path / "e.ply")

    def test_scales_already_activated(self, tmp_path: Path) -> None:
        g, columns = make_gaussians(4), splat_columns(4)
        for i in range(3):
            columns[f"scale_{i}"] = g.scales[:, i].numpy()
        columns["opacity"] = g.opacities.numpy()
        write_vertices(tmp_path / "g.ply", columns)
        with pytest.warns(UserWarning, match="every scale is positive"):
            back = read_gaussians(tmp_path / "g.ply")
        assert torch.allclose(back.scales, g.scales, rtol=1e-5)
        assert torch.allclose(back.opacities, g.opacities, atol=1e-5)

    def test_captured_object(self) -> None:
        path = SPLATS / "guitar.ply"
        if not path.is_file():
            pytest.skip("sample data beside the project is absent")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            g = read_gaussians(path)
        assert len(g) == 90_854
        assert 0.001 < g.scales.median() < 0.05
        assert g.features is None


def splat_columns(n: int) -> dict[str, np.ndarray]:
    """What `write_gaussians` writes for `make_gaussians(n)`, as columns to tamper with."""
    g = make_gaussians(n, 0)
    flat = {
        **{k: g.means[:, i] for i, k in enumerate(("x", "y", "z"))},
        **{k: torch.zeros(n) for k in ("nx", "ny", "nz")},
        **{f"f_dc_{i}": (g.colors[:, i] - 0.5) / 0.28209479177387814 for i in range(3)},
        "opacity": torch.logit(g.opacities),
        **{f"scale_{i}": g.scales[:, i].log() for i in range(3)},
        **{f"rot_{i}": g.quats[:, i] for i in range(4)},
    }
    return {k: v.numpy().copy() for k, v in flat.items()}


class TestPointPly:
    def test_round_trip(self, tmp_path: Path) -> None:
        scene = make_points()
        write_points(tmp_path / "cloud.ply", scene)
        back = read_points(tmp_path / "cloud.ply")
        assert back.name == "cloud"
        for name, array in scene.arrays().items():
            assert (back.arrays()[name] == array).all(), name

    @pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
    def test_forms_and_other_elements(self, tmp_path: Path, form: str) -> None:
        header = (
            f"ply\r\nformat {form} 1.0\ncomment a comment\nelement camera 1\nproperty double f\nelement vertex 3\n"
            "property double x\nproperty float y\nproperty short z\nproperty uchar red\nproperty uchar green\n"
            "property uchar blue\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
        ).encode()
        order = ">" if form.endswith("big_endian") else "<"
        rows = [(0.5, 1.25, -3, 255, 0, 7), (1e-3, 2.0, 4, 1, 2, 3), (7.0, 8.0, 9, 4, 5, 6)]
        dtype = [("x", order + "f8"), ("y", order + "f4"), ("z", order + "i2"), ("rgb", "u1", 3)]
        body = np.array([(x, y, z, rgb) for x, y, z, *rgb in [(*r[:3], *r[3:]) for r in rows]], dtype).tobytes()
        body = np.array([1.5], order + "f8").tobytes() + body + b"\x03" + np.arange(3, dtype=order + "i4").tobytes()
        if form == "ascii":
            body = ("1.5\n" + "".join(" ".join(map(str, r)) + "\n" for r in rows) + "3 0 1 2\n").encode()
        (tmp_path / "p.ply").write_bytes(header + body)
        scene = read_points(tmp_path / "p.ply")
        assert np.allclose(scene.coord, [r[:3] for r in rows])
        assert scene.color.tolist() == [list(r[3:]) for r in rows]
        assert not scene.normal.any()
        assert scene.segment is None

    def test_without_colour_is_grey(self, tmp_path: Path) -> None:
        write_vertices(tmp_path / "p.ply", {k: np.arange(3, dtype=np.float32) for k in "xyz"})
        assert (read_points(tmp_path / "p.ply").color == 128).all()

    @pytest.mark.parametrize("form", ["ascii", "binary"])
    def test_truncated_at_any_byte(self, tmp_path: Path, form: str) -> None:
        write_points(tmp_path / "p.ply", make_points(4))
        if form == "ascii":
            table = read_vertices(tmp_path / "p.ply")
            header = (tmp_path / "p.ply").read_bytes().split(b"end_header\n")[0] + b"end_header\n"
            lines = [" ".join(str(v) for v in row) + "\n" for row in table.tolist()]
            data = header.replace(b"binary_little_endian", b"ascii") + "".join(lines).encode()
            (tmp_path / "p.ply").write_bytes(data)
        data = (tmp_path / "p.ply").read_bytes()
        assert len(read_points(tmp_path / "p.ply")) == 4
        for cut in range(len(data)):
            (tmp_path / "cut.ply").write_bytes(data[:cut])
            with pytest.raises(InputError, match=r"cut\.ply"):
                read_points(tmp_path / "cut.ply")

    def test_more_bytes_than_vertices(self, tmp_path: Path) -> None:
        write_points(tmp_path / "p.ply", make_points(4))
        with (tmp_path / "p.ply").open("ab") as file:
            file.write(b"\0" * 5)
        with pytest.raises(InputError, match="for 4 vertices"):
            read_points(tmp_path / "p.ply")

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ("obj\n", "begin with 'ply'"),
            ("ply\nformat ascii 1.0\nelement face 0\nend_header\n", "no element 'vertex'"),
            ("ply\nelement vertex 0\nproperty float x\nend_header\n", "format line"),
            ("ply\nformat ascii 1.0\nelement vertex -3\nend_header\n", "element vertex -3"),
            ("ply\nformat ascii 1.0\nelement vertex 1\nproperty quad x\nend_header\n", "property quad x"),
            ("ply\nformat ascii 1.0\nelement vertex 1\nproperty int x\nproperty int x\nend_header\n", "twice"),
            ("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\nabc\n", "something else"),
            ("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "no y, z"),
            (
                "ply\nformat binary_little_endian 1.0\nelement vertex 99999999999999\nproperty float x\nend_header\n",
                "9",
            ),
        ],
    )
    def test_foreign_headers(self, tmp_path: Path, header: str, message: str) -> None:
        (tmp_path / "p.ply").write_text(header)
        with pytest.raises(InputError, match=message):
            read_points(tmp_path / "p.ply")

    def test_nan_coordinates_are_dropped_and_counted(self, tmp_path: Path) -> None:
        scene = make_points(5)
        scene.coord[2, 1] = np.nan
        write_points(tmp_path / "p.ply", scene)
        with pytest.warns(UserWarning, match="dropped 1 of 5 points"):
            back = read_points(tmp_path / "p.ply")
        assert scene.instance is not None
        assert back.instance is not None
        assert (back.instance == np.delete(scene.instance, 2)).all()
        assert (back.color == np.delete(scene.color, 2, 0)).all()

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_few_points(self, tmp_path: Path, n: int) -> None:
        write_points(tmp_path / "p.ply", make_points(5)[:n])
        with pytest.raises(InputError, match="empty" if n == 0 else "at least 2 points"):
            read_points(tmp_path / "p.ply")

    def test_float_colours(self, tmp_path: Path) -> None:
        xyz = {k: np.arange(3, dtype=np.float32) for k in "xyz"}
        rgb = {k: np.array([0, 0.5, 1], np.float32) for k in ("red", "green", "blue")}
        write_vertices(tmp_path / "p.ply", xyz | rgb)
        with pytest.raises(InputError, match="colour in 0–1"):
            read_points(tmp_path / "p.ply")
        write_vertices(tmp_path / "q.ply", xyz | {k: v * 255 for k, v in rgb.items()})
        assert read_points(tmp_path / "q.ply").color[:, 0].tolist() == [0, 128, 255]


class TestSplatFile:
    def test_round_trip_within_a_byte(self, tmp_path: Path) -> None:
        g = make_gaussians()
        write_splat(tmp_path / "g.splat", g)
        assert (tmp_path / "g.splat").stat().st_size == 32 * len(g)
        back = read_splat(tmp_path / "g.splat")
        assert torch.equal(back.means, g.means)
        assert torch.equal(back.scales, g.scales)
        assert torch.allclose(back.colors, g.colors, atol=0.5 / 255 + 1e-6)
        assert torch.allclose(back.opacities, g.opacities, atol=0.5 / 255 + 1e-6)
        assert torch.allclose(back.quats, g.quats, atol=0.02)

    def test_truncated_empty_and_missing(self, tmp_path: Path) -> None:
        write_splat(tmp_path / "g.splat", make_gaussians(3))
        data = (tmp_path / "g.splat").read_bytes()
        for cut in (0, 1, 31, 33, 95):
            (tmp_path / "cut.splat").write_bytes(data[:cut])
            with pytest.raises(InputError, match=f"32-byte.*{cut} bytes"):
                read_splat(tmp_path / "cut.splat")
        with pytest.raises(InputError, match="no such file"):
            read_splat(tmp_path / "none.splat")

    def test_bad_rows_are_dropped_and_counted(self, tmp_path: Path) -> None:
        g = make_gaussians(4)
        g.means[0, 0], g.scales[2, 1] = torch.nan, 0.0
        write_splat(tmp_path / "g.splat", g)
        with pytest.warns(UserWarning, match="dropped 2 of 4"):
            assert len(read_splat(tmp_path / "g.splat")) == 2


def state(step: int) -> tuple[dict, dict, dict]:
    weight = torch.arange(6.0).reshape(2, 3) + step
    tensors = {"a.weight": weight, "transposed": weight.T, "tied": weight, "half": weight.half(), "one": weight[0, 0]}
    extra = {"optimizer": {"lr": 0.1, "moments": [torch.ones(3) * step]}, "rng": torch.get_rng_state(), "none": None}
    return tensors, {"config": {"steps": step, "name": "täst"}}, extra


class TestCheckpoint:
    def test_round_trip(self, tmp_path: Path) -> None:
        folder = tmp_path / "run" / "checkpoints"
        tensors, meta, extra = state(1234)
        path = save_checkpoint(folder, 1234, tensors, meta, extra)
        assert path == folder / "step-000001234"
        assert sorted(p.name for p in path.iterdir()) == ["config.json", "model.safetensors", "state.pt"]
        assert json.loads((path / "config.json").read_text())["version"] == 1
        for source in (path, folder):
            got, got_meta, got_extra = load_checkpoint(source)
            assert got.keys() == tensors.keys()
            assert all(torch.equal(got[k], tensors[k]) and got[k].dtype == tensors[k].dtype for k in tensors)
            assert got_meta == meta
            assert torch.equal(got_extra["optimizer"]["moments"][0], extra["optimizer"]["moments"][0])
            assert torch.equal(got_extra["rng"], extra["rng"])
        assert [p.name for p in (tmp_path / "run").iterdir()] == ["checkpoints"]  # nothing left beside it

    def test_keeps_the_newest_and_ignores_foreign_files(self, tmp_path: Path) -> None:
        (tmp_path / "c" / "step-abc").mkdir(parents=True)
        (tmp_path / "c" / "step-000000099").mkdir()  # incomplete
        (tmp_path / "c" / "notes.txt").write_text("mine")
        for step in (1, 2, 30, 4):
            save_checkpoint(tmp_path / "c", step, *state(step), keep=2)
            assert step in [s for s, _ in list_checkpoints(tmp_path / "c")]  # even when it is not the highest
        assert [s for s, _ in list_checkpoints(tmp_path / "c")] == [4, 30]
        assert latest_checkpoint(tmp_path / "c") == tmp_path / "c" / "step-000000030"
        assert (tmp_path / "c" / "notes.txt").exists()
        assert latest_checkpoint(tmp_path / "none") is None

    def test_same_step_again_replaces(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "c", 5, {"w": torch.zeros(2)}, {}, {})
        save_checkpoint(tmp_path / "c", 5, {"w": torch.ones(2)}, {}, {})
        assert load_checkpoint(tmp_path / "c")[0]["w"].tolist() == [1, 1]
        assert [p.name for p in tmp_path.iterdir()] == ["c"]

    @pytest.mark.parametrize("survived", [0, 1, 2])
    def test_killed_while_writing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1))
        write, calls = ckpt._write, []

        def dies(path: Path, data: bytes) -> None:
            calls.append(path)
            if len(calls) > survived:
                path.write_bytes(bytes(data)[: len(data) // 2])
                raise KeyboardInterrupt
            write(path, data)

        with monkeypatch.context() as patch:
            patch.setattr(ckpt, "_write", dies)
            patch.setattr(ckpt.shutil, "rmtree", lambda *a, **k: None)  # a killed process cleans nothing up
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(tmp_path / "c", 2, *state(2))
        assert [p.name for p in (tmp_path / "c").iterdir()] == ["step-000000001"]
        assert load_checkpoint(tmp_path / "c")[1] == state(1)[1]
        assert (tmp_path / ".c.partial").exists()
        save_checkpoint(tmp_path / "c", 3, *state(3))
        assert not (tmp_path / ".c.partial").exists()
        assert [s for s, _ in list_checkpoints(tmp_path / "c")] == [1, 3]

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "state.pt"])
    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1))
        write = ckpt._write

        def full(path: Path, data: bytes) -> None:
            if path.name == name:
                path.write_bytes(bytes(data)[:10])
                raise OSError(errno.ENOSPC, "No space left on device")
            write(path, data)

        with monkeypatch.context() as patch:
            patch.setattr(ckpt, "_write", full)
            with pytest.raises(InputError, match=r"step 2, found a full disk; free some space; .*step-000000001"):
                save_checkpoint(tmp_path / "c", 2, *state(2))
        assert [p.name for p in tmp_path.iterdir()] == ["c"]
        assert load_checkpoint(tmp_path / "c")[1] == state(1)[1]

    def test_really_full_device(self, tmp_path: Path) -> None:
        device = Path("/dev/full")
        if not device.exists():
            pytest.skip("no /dev/full here")
        with pytest.raises(OSError, match="No space left"):
            ckpt._write(device, b"x" * 100_000)

    def test_nothing_older_goes_before_verification(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1), keep=1)
        write = ckpt._write

        def loses_bytes(path: Path, data: bytes) -> None:
            write(path, data)
            if path.name == "model.safetensors":
                path.write_bytes(bytes(data)[:-4])

        with monkeypatch.context() as patch:
            patch.setattr(ckpt, "_write", loses_bytes)
            with pytest.raises(InputError, match="cannot be read back"):
                save_checkpoint(tmp_path / "c", 2, *state(2), keep=1)
        assert [s for s, _ in list_checkpoints(tmp_path / "c")] == [1]

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "state.pt"])
    def test_damaged_file_names_itself_and_the_previous(self, tmp_path: Path, name: str) -> None:
        save_checkpoint(tmp_path / "c", 1, *state(1))
        path = save_checkpoint(tmp_path / "c", 2, *state(2))
        data = (path / name).read_bytes()
        for cut in (0, 1, 7, 9, len(data) // 2, len(data) - 1):
            (path / name).write_bytes(data[:cut])
            with pytest.raises(InputError, match=rf"{name}.*damaged.*previous checkpoint is .*step-000000001"):
                load_checkpoint(path)
        (path / name).unlink()
        with pytest.raises(InputError, match=rf"{name}.*no such file"):
            load_checkpoint(path)

    def test_unloadable_state_is_refused_when_saving(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="weights_only"):
            save_checkpoint(tmp_path / "c", 1, {}, {}, {"bad": InputError("a", "b", "c")})
        assert list_checkpoints(tmp_path / "c") == []

    def test_newer_or_foreign_format(self, tmp_path: Path) -> None:
        path = save_checkpoint(tmp_path / "c", 1, *state(1))
        config = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(config | {"version": 99}))
        with pytest.raises(InputError, match="version 1 or older, found 99"):
            load_checkpoint(path)
        (path / "config.json").write_text("{}")
        with pytest.raises(InputError, match="another file"):
            load_checkpoint(path)
        with pytest.raises(InputError, match="none"):
            load_checkpoint(tmp_path)

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="check the folder"):
            save_checkpoint(tmp_path / "file" / "c", 1, *state(1))
