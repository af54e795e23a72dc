"""Open the viewer from Python, on points, Gaussians, or a model that predicts Gaussians from a capture.

python examples/06_inspector_from_python.py scene.ply
python examples/06_inspector_from_python.py path/to/capture
"""

from __future__ import annotations

import time
from pathlib import Path

import tyro
from gaussiancross import PointScene, load, make_teacher, open_dataset
from gaussiancross.app.inspector import Inspector, ModelSource, PointsSource


def main(what: tyro.conf.Positional[Path], port: int = 7007, seconds: float = float("inf")) -> None:
    """Serve WHAT until Ctrl-C.

    Args:
        what: a file of points, or a capture.
        port: port of the page; the next free one when it is taken.
        seconds: close the page after this time.
    """
    if what.is_dir():
        # The bundled model predicts Gaussians; the teacher gives feature colours and the words of the Search tab.
        teacher = make_teacher("builtin")
        source = ModelSource(load("bundled-rooms"), open_dataset(what, "val"), teacher, title=what.name)
    else:
        source = PointsSource(PointScene.load(what), title=what.name)

    inspector = Inspector(source, port=port)
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(1.0, seconds))
    except KeyboardInterrupt:
        pass
    finally:
        inspector.close()


if __name__ == "__main__":
    tyro.cli(main)
