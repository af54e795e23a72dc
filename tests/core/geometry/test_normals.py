"""Normals of point clouds and meshes."""

from __future__ import annotations

import numpy as np
import pytest
from gaussiancross.core.errors import InputError
from gaussiancross.core.geometry.normals import estimate_normals, vertex_normals
from gaussiancross.core.io.ply_table import count_vertices, read_triangles, read_vertices
from helpers import raw_data as raw
from helpers.scenes import room


# --- meshes ----------------------------------------------------------------------------------------------------------
class TestMesh:
    def test_triangles_and_normals(self, tmp_path):
        coord, color, triangles, segment = raw.corner()
        raw.write_mesh(tmp_path / "m.ply", coord, color, triangles)
        assert count_vertices(tmp_path / "m.ply") == len(read_vertices(tmp_path / "m.ply")) == len(coord)
        np.testing.assert_array_equal(read_triangles(tmp_path / "m.ply"), triangles)
        normal = vertex_normals(coord, triangles)
        np.testing.assert_allclose(normal, np.where(segment[:, None] == 7, [0, 0, 1], [1, 0, 0]), atol=1e-6)

    def test_area_weighs_and_lone_vertices_have_none(self):
        coord = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1], [5, 5, 5]])
        normal = vertex_normals(coord, np.array([[0, 1, 2], [0, 2, 3]]))  # areas 1 (z) and 1/2 (x)
        np.testing.assert_allclose(normal[0], np.array([1, 0, 2]) / 5**0.5, atol=1e-6)
        assert not normal[4].any()

    def test_meshes_without_triangles_are_refused(self, tmp_path):
        coord, color, triangles, _ = raw.corner()
        path = tmp_path / "m.ply"
        raw.write_mesh(path, coord, color, triangles)
        whole = path.read_bytes()
        path.write_bytes(whole[:-5])
        with pytest.raises(InputError, match=r"rows of 1600"):
            read_triangles(path)
        path.write_bytes(whole[:-13] + b"\x04" + whole[-12:])
        with pytest.raises(InputError, match="other polygons"):
            read_triangles(path)


class TestNormals:
    def test_walls_face_the_room(self):
        scene = room(20_000)
        normal = estimate_normals(scene.coord, voxel=0.05)
        inner = (scene.coord > 0.3).sum(1) == 2  # away from the edges where walls meet
        cosine = (normal * scene.normal).sum(1)[inner]
        assert cosine.min() > 0.99 and inner.sum() > 10_000

    def test_toward_a_point(self):
        flat = np.random.default_rng(0).random((500, 3)) * [1, 1, 0]
        assert (estimate_normals(flat, 0.05, toward=np.array([0, 0, -9.0]))[:, 2] < -0.999).all()

    def test_too_few_points(self):
        assert not estimate_normals(np.zeros((2, 3))).any() and estimate_normals(np.zeros((0, 3))).shape == (0, 3)
