"""`gaussiancross prepare`: convert raw downloads to training data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro
from rich.console import Console

from ...core.datasets.prepare import s3dis, scannet
from ...core.datasets.prepare.tasks import Task, reason, write_arrays
from ...core.datasets.scenes import splits
from ...core.errors import InputError
from ...core.io.arrays import read_array
from ...core.io.ply_table import count_vertices
from .batch_jobs import announce, check_options, keep_options, run
from .prepare_objects import Objects, prepare_objects
from .shard import of_shard

SKIPPED = "skipped.txt"


@dataclass(frozen=True)
class ScanNet:
    """ScanNet v2 → Pointcept scenes, RGB-D frames and splits. The same command goes on where it was interrupted."""

    raw: tyro.conf.Positional[Path]
    """The download: scans/, scans_test/ and the label table; tasks/ too, for the data-efficient benchmark's lists."""
    out: Path
    """The folder to write: train/, val/, test/, rgbd/, splits/ and tasks/."""
    frames: int = 30
    """RGB-D frames per scene, evenly spaced over those with a pose; 0 exports none."""
    color_width: int = 640
    """Width of the exported colour images, pixels (1296 as recorded)."""
    only: tuple[str, ...] = ()
    """Scenes to prepare; all by default."""
    seed: int = 0
    """Seed of the data-efficient splits, for downloads without tasks/."""
    shard: str = ""
    """Prepare every N-th scene from the I-th on, "I/N" with I from 0, beside the other processes; "" prepares all."""
    workers: int = 0
    """Processes; 0 takes one per core."""
    estimate: bool = False
    """Only print the amount of work and the required disk space."""


@dataclass(frozen=True)
class S3DIS:
    """S3DIS v1.2 → Pointcept rooms by area. The same command goes on where it was interrupted."""

    raw: tyro.conf.Positional[Path]
    """The download (Stanford3dDataset_v1.2): Area_1/ to Area_6/."""
    out: Path
    """The folder to write: Area_1/<room>/ and so on."""
    align: bool = False
    """Rotate every room to the axes, by the download's angles."""
    only: tuple[str, ...] = ()
    """Areas, or rooms as Area_1/office_1; all by default."""
    shard: str = ""
    """Prepare every N-th scene from the I-th on, "I/N" with I from 0, beside the other processes; "" prepares all."""
    workers: int = 0
    """Processes; 0 takes one per core."""
    estimate: bool = False
    """Only print the amount of work and the required disk space."""


def main(args: Sequence[str]) -> int:
    command = tyro.extras.subcommand_cli_from_dict(
        {"scannet": ScanNet, "s3dis": S3DIS, "objects": Objects},
        args=args,
        prog="gaussiancross prepare",
        description=__doc__,
    )
    if isinstance(command, Objects):
        return prepare_objects(command)
    return prepare_scannet(command) if isinstance(command, ScanNet) else prepare_s3dis(command)


# --- ScanNet ---------------------------------------------------------------------------------------------------------


def prepare_scannet(args: ScanNet, console: Console | None = None) -> int:
    """Points, frames, splits."""
    console = console or Console()
    if args.frames < 0 or args.color_width < 1:
        raise InputError("--frames and --color-width", "positive numbers", f"{args.frames} and {args.color_width}")
    # The splits are drawn anew by every command, with its seed.
    options = {"data": "scannet"} | ({"frames": args.frames, "color_width": args.color_width} if args.frames else {})
    check_options(args.out, options)
    scenes = scannet.find_scenes(args.raw)
    scenes = of_shard(_chosen(scenes, args.only, [{s.name} for s in scenes]), args.shard)
    table = scannet.read_label_table(args.raw / scannet.LABEL_TABLE)
    points, frames, broken = [], [], {}
    for scene in scenes:
        target = args.out / scene.split / scene.name
        try:
            size = 0 if target.is_dir() else count_vertices(scene.mesh) * scannet.BYTES_PER_POINT
            points.append(Task(scene.name, target, partial(write_scene, scene, table), size))
            target = args.out / "rgbd" / scene.name
            if args.frames and (target.is_dir() or scene.recording.is_file()):
                how = args.frames, args.color_width
                size = 0 if target.is_dir() else scannet.frame_bytes(scene.recording, *how)
                work = partial(write_frames, scene, *how)
                frames.append(Task(f"{scene.name} frames", target, work, size))
        except Exception as error:
            broken[scene.name] = reason(error)
    if args.frames and len(frames) < len(points):
        console.print(f"{len(points) - len(frames)} scenes have no .sens recording, hence no frames.")
    if not announce(console, args.out, {"points": points, "RGB-D frames": frames}, args.estimate):
        return 0
    keep_options(args.out, options)
    skipped = broken | run(console, [*points, *frames], args.workers)
    _finish(console, args.out, skipped, sum(t.done for t in points), "scenes", args.shard)
    if args.shard:
        console.print("When all shards are done, the same command without --shard writes the lists of scenes.")
    else:
        _split(args, console)
    return 0


def write_scene(scene: scannet.RawScene, table: dict[str, tuple[int, int]], folder: Path) -> None:
    """The points and labels of one scene into its folder."""
    write_arrays(scannet.read_scene(scene, table), folder)


def write_frames(scene: scannet.RawScene, count: int, width: int, folder: Path) -> None:
    """Frames of one scene's recording into its folder."""
    scannet.export_frames(scene.recording, folder, count, width)


def _split(args: ScanNet, console: Console) -> None:
    """Lists of the scenes that are there, and the data-efficient splits."""
    names = {
        split: sorted(f.parent.name for f in (args.out / split).glob("scene????_??/coord.npy"))
        for split in ("train", "val", "test")
    }
    for split, scenes in names.items():
        splits.write_names(args.out / "splits" / f"{split}.txt", scenes)
    tasks = args.out / "tasks"
    if (args.raw / "tasks").is_dir():
        shutil.copytree(args.raw / "tasks", tasks, dirs_exist_ok=True)
        console.print("Data-efficient splits: the benchmark's, copied.")
        return
    train = names["train"]
    if not train:
        return
    scene_lists = {percent: tasks / "scenes" / f"{percent}.txt" for percent in splits.SCENE_SHARES}
    for percent, path in scene_lists.items():
        splits.write_names(path, splits.sample_scenes(train, percent, args.seed))
    drawn = {count: {} for count in splits.POINT_COUNTS}
    for name in train:
        labels = read_array(args.out / "train" / name / "segment20.npy")
        for count, points in drawn.items():
            points[name] = splits.sample_points(labels, count, args.seed, _key(name))
    point_lists = {count: tasks / "points" / f"points{count}" for count in drawn}
    for count, points in drawn.items():
        splits.write_point_lists(point_lists[count], points)
    splits.mark_sampled(tasks, [*scene_lists.values(), *point_lists.values()], args.seed)
    console.print(
        f"Data-efficient splits: drawn with seed {args.seed}. For figures beside published ones, put the benchmark's "
        f"lists into {args.raw / 'tasks'} and run this again.",
        soft_wrap=True,
    )


def _key(scene: str) -> int:
    """A number for the scene's name, so that its draw does not depend on which other scenes there are."""
    return int("".join(c for c in scene if c.isdecimal()))


# --- S3DIS -----------------------------------------------------------------------------------------------------------


def prepare_s3dis(args: S3DIS, console: Console | None = None) -> int:
    """Rooms, area by area."""
    console = console or Console()
    options = {"data": "s3dis", "align": args.align}
    check_options(args.out, options)
    rooms = s3dis.find_rooms(args.raw)
    rooms = of_shard(_chosen(rooms, args.only, [{r.area, f"{r.area}/{r.name}"} for r in rooms]), args.shard)
    angles = {area: s3dis.read_alignment(args.raw, area) for area in {r.area for r in rooms}} if args.align else {}
    tasks, broken = [], {}
    for room in rooms:
        name, target = f"{room.area}/{room.name}", args.out / room.area / room.name
        if args.align and room.name not in angles[room.area]:
            broken[name] = str(InputError(f"{room.area}_alignmentAngle.txt", f"the angle of {room.name}", "none"))
            continue
        angle = angles[room.area][room.name] if args.align else 0.0
        try:
            text = 0 if target.is_dir() else sum(f.stat().st_size for f in room.objects())
        except Exception as error:
            broken[name] = reason(error)
            continue
        size = text // s3dis.BYTES_PER_LINE * s3dis.BYTES_PER_POINT
        tasks.append(Task(name, target, partial(write_room, room, angle), size))
    if not announce(console, args.out, {"rooms": tasks}, args.estimate):
        return 0
    keep_options(args.out, options)
    skipped = broken | run(console, tasks, args.workers)
    _finish(console, args.out, skipped, sum(t.done for t in tasks), "rooms", args.shard)
    return 0


def write_room(room: s3dis.RawRoom, angle: float, folder: Path) -> None:
    """The points and labels of one room into its folder."""
    write_arrays(s3dis.read_room(room, angle), folder)


# --- both ------------------------------------------------------------------------------------------------------------


def _chosen(items: list, only: tuple[str, ...], names: list[set[str]]) -> list:
    """The items of which one name is among ``only``; all of them without any."""
    unknown = set(only) - set().union(*names)
    if unknown:
        raise InputError("--only", "names in the download", f"{', '.join(sorted(unknown))}")
    return [item for item, own in zip(items, names, strict=True) if not only or own & set(only)]


def _finish(console: Console, out: Path, skipped: dict[str, str], done: int, what: str, shard: str) -> None:
    """Report skipped scenes on the console and in a file, one per shard; raise an error if none are usable."""
    listing = f"skipped-{shard.replace('/', '-of-')}.txt" if shard else SKIPPED
    for name, why in skipped.items():
        console.print(f"left out: {name}: {why}", soft_wrap=True, markup=False, highlight=False)
    if not done:
        raise InputError(out, f"{what} to prepare", f"none of {len(skipped)} usable")
    text = "".join(f"{name}: {why}\n" for name, why in skipped.items())
    (out / listing).write_text(text, encoding="utf-8")
    console.print(f"{out}: {done} {what}" + (f", {len(skipped)} left out ({listing})" if skipped else ""))
