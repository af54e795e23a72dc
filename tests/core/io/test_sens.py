"""ScanNet's .sens recordings."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.sens import read_sens
from helpers import raw_data as raw


# --- .sens -----------------------------------------------------------------------------------------------------------
class TestSens:
    def test_header_frames_and_images(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=3)
        sens = read_sens(tmp_path / "a.sens")
        assert (sens.name, sens.color_codec, sens.depth_codec) == ("StructureSensor", "jpeg", "zlib")
        assert sens.color_size == raw.COLOR_SIZE and sens.depth_size == raw.DEPTH_SIZE
        np.testing.assert_array_equal(sens.color_intrinsics.astype(np.float32), raw.intrinsics(*raw.COLOR_K))
        np.testing.assert_array_equal(sens.depth_intrinsics.astype(np.float32), raw.intrinsics(*raw.DEPTH_K))
        assert [f.index for f in sens.frames] == [0, 1, 2]
        np.testing.assert_array_equal(sens.frames[2].pose, raw.pose_of(2))
        for i, (color, depth) in zip((2, 0), sens.images([sens.frames[2], sens.frames[0]]), strict=True):
            np.testing.assert_array_equal(depth, raw.depth_of(i))
            assert color.size == raw.COLOR_SIZE
            np.testing.assert_allclose(np.asarray(color)[5, 5], (20 * i, 100, 200), atol=3)

    def test_other_depth_units_become_millimetres(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=1, shift=5000)
        sens = read_sens(tmp_path / "a.sens")
        (_, depth), *_ = sens.images(sens.frames)
        np.testing.assert_array_equal(depth, raw.depth_of(0))

    def test_truncation_at_any_byte_is_an_input_error(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=2)
        whole = (tmp_path / "a.sens").read_bytes()[:-8]
        for length in [*range(0, 400, 7), len(whole) // 2, len(whole) - 1]:
            (tmp_path / "a.sens").write_bytes(whole[:length])
            with pytest.raises(InputError, match=r"truncated|ends in frame|version|name|sizes"):
                read_sens(tmp_path / "a.sens")

    def test_unsupported_recordings_are_refused(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=1)
        whole = (tmp_path / "a.sens").read_bytes()
        codecs = 4 + 8 + len(b"StructureSensor") + 4 * 64
        for place, value, message in ((0, 3, "version 3"), (codecs, 7, "codes 7 and 1"), (codecs + 8, 10**6, "sizes")):
            (tmp_path / "a.sens").write_bytes(whole[:place] + struct.pack("<I", value) + whole[place + 4 :])
            with pytest.raises(InputError, match=message):
                read_sens(tmp_path / "a.sens")
        with pytest.raises(InputError, match="no such file"):
            read_sens(tmp_path / "none.sens")

    def test_a_damaged_image_names_its_frame(self, tmp_path):
        raw.write_sens(tmp_path / "a.sens", frames=2)
        data = bytearray((tmp_path / "a.sens").read_bytes())
        frame = read_sens(tmp_path / "a.sens").frames[1]
        data[frame.offset + frame.color_bytes + 5] ^= 0xFF
        (tmp_path / "a.sens").write_bytes(data)
        sens = read_sens(tmp_path / "a.sens")
        with pytest.raises(InputError, match="frame 1"):
            list(sens.images(sens.frames))
