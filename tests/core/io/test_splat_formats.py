"""SPZ, SOG, glTF splats and compressed PLY: round trips within their quantisation, samples of others, damage."""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.core.data.scene import PointScene
from gaussiancross.core.errors import InputError
from gaussiancross.core.io import SplatData, read_splats, write_splats
from gaussiancross.core.io.formats import SPLAT_FORMATS, SplatFormat, find_format
from gaussiancross.core.io.splat_files.spz import read_spz, write_spz
from helpers.paths import SHARED_DATA
from helpers.splat_files import make_gaussians, some_cuts

SPLATS = SHARED_DATA / "splats"
ENDINGS = (".ply", ".compressed.ply", ".splat", ".spz", ".sog", ".glb")
LEAST = {  # largest differences: metres, degrees, of ln(scale), opacity, colour, harmonics
    ".ply": (0, 0.1, 1e-5, 1e-6, 1e-6, 0),
    ".compressed.ply": (0.004, 0.3, 0.004, 0.003, 0.003, 4 / 128),
    ".splat": (0, 2.0, 1e-6, 0.003, 0.003, None),
    ".spz": (2**-13, 0.3, 1 / 32, 0.003, 0.5 * 0.28209479 / 0.15 / 255 + 1e-5, 8.6 / 128),
    ".sog": (0.0002, 1.0, 0.02, 0.003, 0.004, None),
    ".glb": (0, 0.1, 1e-5, 1e-6, 1e-6, 0),
}


@pytest.fixture(autouse=True)
def samples(request: pytest.FixtureRequest) -> None:
    if "captured" in request.node.name and not SPLATS.is_dir():
        pytest.skip("sample data beside the project is absent")


def make_data(count: int = 300, harmonics: int = 8) -> SplatData:
    rng = torch.Generator().manual_seed(1)
    sh = torch.rand(count, harmonics, 3, generator=rng) - 0.5 if harmonics else None
    return SplatData(make_gaussians(count, 5), sh, np.arange(count) % 7)


def rotation_angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = (torch.nn.functional.normalize(q.double(), dim=-1) for q in (a, b))
    return 2 * torch.arccos((a * b).sum(1).abs().clamp(max=1)) * 57.3


def matched(written: SplatData, back: SplatData) -> SplatData:
    """``back`` in the order of ``written``, whose positions are far apart."""
    return back[torch.cdist(written.gaussians.means, back.gaussians.means).argmin(1)]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("harmonics", [0, 3, 8, 15])
def test_round_trip_within_the_quantisation(tmp_path: Path, ending: str, harmonics: int) -> None:
    data, path = make_data(harmonics=harmonics), tmp_path / f"a{ending}"
    write_splats(path, data)
    back = read_splats(path)
    assert len(back) == len(data)
    form = find_format(path)
    assert isinstance(form, SplatFormat) and ending in form.endings
    if ending == ".compressed.ply":
        back = matched(data, back)
    g, h = data.gaussians, back.gaussians
    least = LEAST[ending]
    assert float((g.means - h.means).abs().max()) <= least[0]
    assert float(rotation_angle(g.quats, h.quats).max()) <= least[1]
    assert float((g.scales.log() - h.scales.log()).abs().max()) <= least[2]
    assert float((g.opacities - h.opacities).abs().max()) <= least[3]
    assert float((g.colors - h.colors).abs().max()) <= least[4]
    assert (back.sh is not None) == (data.sh is not None and "harmonics" in form.keeps)
    if data.sh is not None and back.sh is not None:
        worst = float((data.sh - back.sh).abs().max())
        # A SOG keeps half as many vectors as there are Gaussians; random ones are the worst case.
        assert worst <= least[5] if least[5] is not None else float((data.sh - back.sh).square().mean()) < 0.06
    assert (h.features is not None) == ("features" in form.keeps)
    if h.features is not None and back.labels is not None:
        assert torch.equal(h.features, g.features) and (back.labels == data.labels).all()


@pytest.mark.parametrize("version", [3, 4])
def test_spz_versions(tmp_path: Path, version: int) -> None:
    write_spz(tmp_path / "a.spz", make_data(), version)
    first = (tmp_path / "a.spz").read_bytes()[:4]
    assert first == b"NGSP" if version == 4 else first[:2] == b"\x1f\x8b"
    other = read_spz(tmp_path / "a.spz")
    write_spz(tmp_path / "b.spz", make_data(), 7 - version)
    assert torch.equal(other.gaussians.quats, read_spz(tmp_path / "b.spz").gaussians.quats)


def test_spz_of_a_large_scene_has_coarser_positions(tmp_path: Path) -> None:
    data = make_data(harmonics=0)
    data = replace(data, gaussians=replace(data.gaussians, means=data.gaussians.means * 30_000))
    write_splats(tmp_path / "a.spz", data)
    back = read_splats(tmp_path / "a.spz").gaussians.means
    assert 1e-3 < float((back - data.gaussians.means).abs().max()) < 0.05


class TestSamples:
    def test_captured_guitar_compressed_equals_its_ply(self) -> None:
        plain, packed = (read_splats(SPLATS / name) for name in ("guitar.ply", "guitar.compressed.ply"))
        assert len(plain) == len(packed) == 90_854
        g, h = plain.gaussians, packed.gaussians
        assert float((g.means - h.means).abs().max()) < 1e-6 and float((g.quats - h.quats).abs().max()) < 1e-6
        assert float((g.scales.log() - h.scales.log()).abs().max()) < 1e-5
        assert float((g.colors - h.colors).abs().max()) < 1e-6
        # The PLY stores logits, which are cut off for the opacity 255 / 255.
        assert float((g.opacities - h.opacities).abs().max()) < 0.002

    def test_captured_biker_is_spz_4(self) -> None:
        data = read_splats(SPLATS / "biker.spz")
        g = data.gaussians
        assert len(g) == 152_746 and data.sh is None
        assert float((g.means.amax(0) - g.means.amin(0)).max()) < 4 and 0.001 < float(g.scales.median()) < 0.05
        assert torch.allclose(g.quats.norm(dim=1), torch.ones(len(g)), atol=1e-3)

    def test_captured_playbot_folder_and_zip(self, tmp_path: Path) -> None:
        data = read_splats(SPLATS / "playbot_sog")
        assert len(data) == 31_000 and data.sh is not None and data.sh.shape == (31_000, 8, 3)
        with zipfile.ZipFile(tmp_path / "playbot.sog", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in (SPLATS / "playbot_sog").iterdir():
                archive.write(file, file.name)
        packed = read_splats(tmp_path / "playbot.sog")
        assert torch.equal(packed.gaussians.means, data.gaussians.means)
        assert packed.sh is not None and torch.equal(packed.sh, data.sh)
        scene = PointScene.load(SPLATS / "playbot_sog")
        assert len(scene) == 31_000 and scene.color.std() > 20


class TestDamage:
    @pytest.mark.parametrize("ending", [e for e in ENDINGS if e != ".splat"])
    @pytest.mark.filterwarnings("ignore")
    def test_truncated_or_corrupted_files_are_refused_in_one_sentence(self, tmp_path: Path, ending: str) -> None:
        path, rng = tmp_path / f"a{ending}", np.random.default_rng(0)
        write_splats(path, make_data(40, 3))
        content = path.read_bytes()
        for cut in some_cuts(len(content))[::4]:
            path.write_bytes(content[:cut])
            with pytest.raises(InputError, match=path.name):
                read_splats(path)
        for _ in range(60):  # a changed byte may still be a valid file, but nothing else is raised
            broken = bytearray(content)
            broken[int(rng.integers(len(broken)))] ^= int(rng.integers(1, 256))
            path.write_bytes(broken)
            try:
                read = read_splats(path).gaussians
            except InputError:
                continue
            assert all(bool(t.isfinite().all()) for t in (read.means, read.scales, read.quats, read.colors))

    def test_an_spz_that_promises_too_much_allocates_nothing(self, tmp_path: Path) -> None:
        head = struct.pack("<4sIIBBBB", b"NGSP", 3, 4_000_000_000, 3, 12, 0, 0)
        (tmp_path / "a.spz").write_bytes(gzip.compress(head))
        with pytest.raises(InputError, match=r"expected at most .* Gaussians in .* bytes, found 4,000,000,000"):
            read_splats(tmp_path / "a.spz")

    def test_a_sog_with_a_missing_image_names_it(self, tmp_path: Path) -> None:
        write_splats(tmp_path / "a.sog", make_data(40, 0))
        with zipfile.ZipFile(tmp_path / "a.sog") as archive:
            archive.extractall(tmp_path / "folder")
        (tmp_path / "folder" / "quats.webp").unlink()
        with pytest.raises(InputError, match=r"folder: expected the image quats\.webp, found no such file"):
            read_splats(tmp_path / "folder")
        meta = json.loads((tmp_path / "folder" / "meta.json").read_text()) | {"count": 10_000}
        (tmp_path / "folder" / "meta.json").write_text(json.dumps(meta))
        with pytest.raises(InputError, match=r"10000 pixels in means_l\.webp"):
            read_splats(tmp_path / "folder")

    def test_unusable_gaussians_are_dropped_and_counted(self, tmp_path: Path) -> None:
        data = make_data(20, 3)
        data.gaussians.means[3, 1], data.gaussians.scales[5] = torch.nan, torch.inf
        write_splats(tmp_path / "a.glb", data)
        with pytest.warns(UserWarning, match="dropped 2 of 20 Gaussians"):
            back = read_splats(tmp_path / "a.glb")
        assert back.labels is not None and data.labels is not None
        assert (back.labels == np.delete(data.labels, [3, 5])).all()


def test_a_node_of_a_glb_moves_its_gaussians(tmp_path: Path) -> None:
    data = make_data(10, 0)
    write_splats(tmp_path / "a.glb", data)
    content = (tmp_path / "a.glb").read_bytes()
    size = struct.unpack_from("<I", content, 12)[0]
    gltf = json.loads(content[20 : 20 + size])
    gltf["nodes"][0] |= {"rotation": [0, 0, 0.5**0.5, 0.5**0.5], "scale": [2, 2, 2], "translation": [1, 0, 0]}
    text = json.dumps(gltf).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + size :]
    (tmp_path / "b.glb").write_bytes(
        struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest
    )
    g, back = data.gaussians, read_splats(tmp_path / "b.glb").gaussians
    x, y, z = g.means.T
    assert torch.allclose(back.means, torch.stack([1 - 2 * y, 2 * x, 2 * z], 1), atol=1e-5)
    assert torch.allclose(back.scales, 2 * g.scales, atol=1e-6)


def test_every_format_has_a_writer_for_its_first_ending() -> None:
    assert sorted(f.endings[0] for f in SPLAT_FORMATS) == sorted(ENDINGS)
