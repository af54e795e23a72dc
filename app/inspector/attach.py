"""Opens the inspector on a running training."""

from __future__ import annotations

from collections.abc import Collection

from ...core.errors import InputError
from ...trainers.pretraining.trainer import Pretrainer
from . import Inspector, LiveSource, TimelineSource


def attach_inspector(
    run: Pretrainer, host: str = "127.0.0.1", port: int = 7007, public: bool = False, names: Collection[str] = ()
) -> Inspector:
    """Open the inspector on the held-out scenes of a training; `Inspector.close` ends it.

    Args:
        run: training that publishes to a feed.
        public: also ask viser's relay for a public address.
        names: further names of this machine by which browsers may open the page.
    """
    if run.feed is None:
        raise InputError("the viewer", "a training that publishes to a LiveFeed", "one without a feed")
    scenes = run.data.val if len(run.data.val) else run.data.train
    source = LiveSource(run.feed, scenes, run.data.teacher, title=run.run_dir.name, device=run.device)
    timeline = TimelineSource(source, run.run_dir, live=True)
    viewer = (timeline, host, port, run.feed)
    return Inspector(*viewer, tour=True, public=public, device=run.device, names=names)
