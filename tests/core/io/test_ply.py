"""PLY files of Gaussians and of points: round trips, foreign forms, damage."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import read_gaussians, read_labelled_gaussians, read_points, write_gaussians, write_points
from gaussiancross.core.io.ply_table import read_vertices, write_vertices
from helpers.paths import SHARED_DATA
from helpers.splat_files import make_gaussians, make_points, splat_columns

SPLATS = SHARED_DATA / "splats"


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

    def test_points_instead_of_splats_list_the_missing_columns(self, tmp_path: Path) -> None:
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
