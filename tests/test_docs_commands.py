"""Every command that README.md and docs/ print is run here, or is listed with the reason why it cannot be.

Commands are the lines of fenced ``bash`` blocks. Each must stand, word for word, in `RUN` or in `NOT_RUN`; an entry
that no document prints any more fails, too. A command runs in an empty folder that holds the files it names
(`docs_workspace`), as printed but for options in `Run.add` that make it small. `gaussiancross` commands run inside this
process through the function that the installed script calls; everything else runs in a process of its own.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from gaussiancross.app import cli
from helpers.docs_workspace import NS_SMALL, SMALL_OBJECTS, SMALL_PRETRAINING, Workspace, script

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS += sorted((ROOT / "examples").rglob("*.md"))
OUTPUT_OPTIONS = ("--out", "--run-dir", "--points", "--to-pointcept")
"""The word after one of these is written, not read."""

SMALL_LABELS = """
    --voxel-size 0.1 --network.base-channels 8 --network.channels 8 8 8 8 8 8 8 8 --network.layers 1 1 1 1 1 1 1 1
    --batch-size 1 --steps 2 --eval-every 0 --workers 0 --device cpu
"""
"""Options that make a run of `probe`, `finetune` or `instances` which a CPU finishes in seconds."""
PICTURES = "--views 1 --width 120"


@dataclass(frozen=True)
class Run:
    """How a printed command is run.

    Attributes:
        add: options that make it small.
        writes: files it promises, relative to the folder it runs in.
        prints: text that it promises.
        serves: whether it answers in a browser until Ctrl-C.
        replaces: words that are replaced by smaller ones.
        slow: whether it takes more than some ten seconds.
        needs: an optional package without which it cannot run.
    """

    add: str = ""
    writes: tuple[str, ...] = ()
    prints: str = ""
    serves: bool = False
    replaces: tuple[tuple[str, str], ...] = ()
    slow: bool = False
    needs: str = ""


CAPTURE_FOR_ROOM = (("rooms:val:1", "path/to/capture"),)
"""A small capture instead of a room, whose hundred thousand points take longer; one command keeps the room."""
ANSWER = ("answer.json", "page.png", "labels.ply")
QUERY = tuple(f"query/{name}" for name in ANSWER)

RUN = {
    # install.md
    "gaussiancross doctor": Run(prints="torch"),
    "gaussiancross --version": Run(prints="gaussiancross "),
    # inspector.md
    "gaussiancross view": Run(serves=True, slow=True),
    "gaussiancross view RUN": Run(serves=True),
    "gaussiancross view RUN OTHER_RUN": Run(serves=True),
    "gaussiancross view bundled-rooms": Run(serves=True, add="--data path/to/capture"),
    "gaussiancross view scene.ply": Run(serves=True),
    "gaussiancross view path/to/capture": Run(serves=True),
    "gaussiancross view rooms:val:3": Run(serves=True, slow=True),
    "gaussiancross export RUN timeline.gif --path timeline": Run("--width 96", ("timeline.gif",)),
    "gaussiancross export RUN depth.png --layer Depth --frame 1": Run("--width 96", ("depth.png",)),
    "gaussiancross export RUN orbit.mp4 --path orbit --seconds 4": Run(
        "--width 96 --fps 2", ("orbit.mp4",), needs="imageio_ffmpeg"
    ),
    "gaussiancross export rooms:val:1 splats.ply --features": Run("", ("splats.ply",), replaces=CAPTURE_FOR_ROOM),
    "gaussiancross export scene.ply page.html": Run("", ("page.html",)),
    "gaussiancross refine path/to/capture sharp.ply --seconds 120": Run(
        "--steps 2", ("sharp.ply", "sharp.ply.png"), prints="dB on held-out frames"
    ),
    # data.md
    "gaussiancross rooms --seeds 0 1 2 3 --out rooms.png": Run("--views 1", ("rooms.png",), slow=True),
    "gaussiancross pretrain tiny --data path/to/capture --run-dir runs/capture": Run(
        SMALL_PRETRAINING, ("runs/capture/metrics.jsonl", "runs/capture/checkpoints")
    ),
    "gaussiancross prepare scannet SCANNET_RAW --out SCANNET": Run(
        "--workers 1", ("SCANNET/train/scene0000_00/coord.npy", "SCANNET/rgbd/scene0000_00/color")
    ),
    "gaussiancross prepare s3dis S3DIS_RAW --out S3DIS": Run("--workers 1", ("S3DIS/Area_1/office_1/coord.npy",)),
    "gaussiancross features path/to/capture --teacher builtin --storage int8 --out FEATURES": Run(
        writes=("FEATURES/cache.json",)
    ),
    "gaussiancross pretrain tiny --data path/to/capture --data.teacher cached:FEATURES --run-dir runs/cached": Run(
        SMALL_PRETRAINING, ("runs/cached/checkpoints",)
    ),
    "gaussiancross export splats.ply splats.spz": Run("", ("splats.spz",)),
    "gaussiancross export splats.ply splats.glb --features": Run("", ("splats.glb",)),
    'gaussiancross query scan.pcd "a chair" --up z': Run(PICTURES, QUERY),
    # pretraining.md
    "gaussiancross pretrain tiny --data rooms:8 --run-dir runs/rooms": Run(
        SMALL_PRETRAINING,
        ("runs/rooms/checkpoints", "runs/rooms/tensorboard"),
        replaces=(("rooms:8", "rooms:1"),),
        slow=True,
    ),
    "gaussiancross eval runs/rooms": Run("--device cpu", ("runs/rooms/eval/metrics.json",), prints="PSNR"),
    "ns-train gaussiancross-tiny --data rooms:8": Run(
        NS_SMALL, ("outputs",), replaces=(("rooms:8", "rooms:1"),), slow=True
    ),
    "ns-eval --load-config NS_RUN/config.yml": Run(writes=("output.json",), slow=True),
    "ns-train gaussiancross --help": Run(prints="--pipeline.model.point-weight", slow=True),
    "gaussiancross pretrain tiny --help": Run(prints="--model.point-weight"),
    # downstream.md
    "gaussiancross embed scene.ply --out features.npy": Run("--device cpu", ("features.npy",)),
    "gaussiancross embed scene.ply --out features.npy --model RUN": Run("--device cpu", ("features.npy",)),
    "gaussiancross embed path/to/capture --out features.npy --points points.ply --hypercolumn": Run(
        "--device cpu", ("features.npy", "points.ply")
    ),
    "gaussiancross probe scannet --init RUN --data SCANNET": Run(SMALL_LABELS + "--norm own --run-dir here", ("here",)),
    "gaussiancross finetune scannet-scenes1 --init RUN --data SCANNET": Run(
        SMALL_LABELS + "--labels.scenes 50 --run-dir here", ("here/model/model.safetensors",)
    ),
    "gaussiancross instances scannet --init RUN --data SCANNET": Run(SMALL_LABELS + "--run-dir here", ("here",)),
    "gaussiancross probe table runs": Run(),
    "gaussiancross probe rooms --init bundled-rooms --run-dir runs/probe": Run(
        "--labels.data rooms:1 --steps 2 --device cpu", ("runs/probe",), slow=True
    ),
    "gaussiancross finetune rooms --init bundled-rooms --run-dir runs/finetune": Run(
        "--labels.data rooms:1 --steps 2 --device cpu", ("runs/finetune/model/model.safetensors",), slow=True
    ),
    "gaussiancross instances rooms --init bundled-rooms --run-dir runs/instances": Run(
        "--labels.data rooms:1 --steps 2 --device cpu", ("runs/instances",), slow=True
    ),
    "gaussiancross convert model_last.pth --out model": Run("", ("model/model.safetensors", "model/config.json")),
    "gaussiancross convert RUN --to-pointcept spunet.pth": Run("", ("spunet.pth",)),
    "gaussiancross convert bundled-rooms --out backbone --backbone": Run("", ("backbone/model.safetensors",)),
    # query.md
    'gaussiancross query rooms:val:1 "sofa" "a lamp"': Run(PICTURES, QUERY, slow=True),
    'gaussiancross query rooms:val:1 "sofa" "a lamp" "red chair"': Run(PICTURES, QUERY, replaces=CAPTURE_FOR_ROOM),
    'gaussiancross query rooms:val:1 "sofa" --features-from lifted': Run(PICTURES, QUERY, replaces=CAPTURE_FOR_ROOM),
    'gaussiancross query RUN "sofa" --out answers': Run(PICTURES, tuple(f"answers/{name}" for name in ANSWER)),
    'gaussiancross query splats.ply "sofa" --teacher builtin': Run(PICTURES, QUERY),
    "gaussiancross query rooms:val:1 --images photo.jpg": Run(PICTURES, QUERY, replaces=CAPTURE_FOR_ROOM),
    'gaussiancross query rooms:val:1 "table" --at 1.0 1.5 0.8': Run(PICTURES, QUERY, replaces=CAPTURE_FOR_ROOM),
    "gaussiancross pretrain field --data rooms:80 --run-dir runs/field": Run(
        SMALL_PRETRAINING, ("runs/field/checkpoints",), replaces=(("rooms:80", "path/to/capture"),)
    ),
    # objects.md
    "gaussiancross clipgs classify chair.glb --labels chair,table,lamp": Run("--device cpu", prints="%"),
    'gaussiancross clipgs retrieve "a wooden chair" --gallery OBJECTS': Run("--device cpu", prints="cosine"),
    "gaussiancross clipgs embed MESHES --out gallery.npz": Run("--device cpu", ("gallery.npz",)),
    "gaussiancross clipgs retrieve chair.glb --gallery gallery.npz": Run("--device cpu", prints="tall_lamp"),
    "gaussiancross view --objects OBJECTS": Run(serves=True, slow=True),
    "gaussiancross prepare objects MESHES --out OBJECTS": Run(
        SMALL_OBJECTS + " --device cpu", ("OBJECTS/objects/red_box", "OBJECTS/objects/tall_lamp")
    ),
    "gaussiancross clipgs triplets OBJECTS --tower builtin": Run(),
    "gaussiancross clipgs train cpu --data OBJECTS": Run(
        "--epochs 1 --batch-size 1 --model.width 24 --model.depth 1 --model.gaussians 64 --model.groups 4"
        " --model.group-size 8 --run-dir here --device cpu",
        ("here/checkpoints",),
    ),
    "gaussiancross clipgs eval SHAPESPLATS": Run("--device cpu", prints="zero-shot"),
    # benchmarks.md and results.md
    "gaussiancross bench": Run(prints="tiny_step"),
    "gaussiancross bench grouping": Run(slow=True, prints="ms"),
    "gaussiancross bench memory": Run(slow=True, prints="dense U-Net"),
    "gaussiancross bench feed --scenes 4": Run(slow=True, prints="ceiling of 16 cores"),
    "gaussiancross bench tiny_step --help": Run(prints="usage"),
    "gaussiancross bench gpu --prepare": Run("--size small --inputs here", ("here/step.safetensors",)),
}
"""Command, as printed -> how it is run."""

NOT_RUN = {
    "make demo": "installs, and trains until it is stopped; the pieces are tested elsewhere",
    "make test": "this test would run itself",
    "make fuzz": "takes many minutes; tests/fuzz does it in small",
    "make check": "runs the linters, not the project",
    "make coverage": "the whole suite, traced: many minutes",
    "make audit": "needs a network; tests/test_makefile.py runs what it is made of",
    "make docs": "installs; the guide is built by its own target",
    "make dist": "installs; tests/test_distribution.py does it",
    "pip install .": "installs",
    'pip install ".[cuda]"': "installs",
    'pip install ".[teachers]"': "installs",
    'pip install ".[objects]"': "installs",
    'pip install ".[scans]"': "installs",
    "uv sync --all-extras": "installs",
    'gaussiancross query path/to/capture "a chair" --teacher clip:openai/clip-vit-base-patch16': "needs a download",
    "ns-train gaussiancross --data SCANNET --pipeline.datamanager.teacher cached:FEATURES": "needs CUDA",
    "gaussiancross pretrain full --data SCANNET --data.teacher cached:FEATURES": "needs CUDA",
    "gaussiancross bench gpu": "needs CUDA",
    "torchrun --nproc-per-node 4 --no-python gaussiancross pretrain full --data SCANNET --data.batch-size 8"
    " --run-dir runs/four": "needs CUDA; tests/trainers/engine/test_ranks.py starts torchrun on the CPU",
    "gaussiancross bench rooms --variant full": "takes hours; tests/benchmarks/test_rooms_bench.py runs it in small",
    "gaussiancross bench livingroom CAPTURE": "trains for ten minutes",
    "gaussiancross bench livingroom CAPTURE --anchors lattice --cells 100000 --seconds 300": "trains for five minutes",
    "gaussiancross bench open_vocabulary": "takes many minutes",
    "gaussiancross bench words CAPTURE": "takes minutes; tests/benchmarks/test_words.py runs it in small",
    "gaussiancross bench open_vocabulary --run bundled-rooms --rooms 8": "takes many minutes",
    "gaussiancross bench objects --seeds 3 --pretrain-epochs 5 --config.epochs 12 --data.train 24 --data.test 4"
    " --data.unseen 12": "takes hours; tests/benchmarks/test_objects_bench.py runs it in small",
}
"""Command, as printed -> why it is not run."""


def printed_commands() -> dict[str, str]:
    """Commands of all fenced ``bash`` blocks -> "file:line" of the first that prints it. Comments are left out."""
    found: dict[str, str] = {}
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in re.finditer(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text[: block.start(1)].count("\n") + 1
            for offset, command in enumerate(block[1].replace("\\\n", " ").splitlines()):
                if command := re.sub(r"\s+#\s.*$|^#.*$", "", command).strip():
                    found.setdefault(" ".join(command.split()), f"{document.relative_to(ROOT)}:{line + offset}")
    return found


PRINTED = printed_commands()


def test_every_printed_command_is_run_or_excused():
    unknown = {where: command for command, where in PRINTED.items() if command not in RUN and command not in NOT_RUN}
    assert not unknown, "add these commands to RUN or to NOT_RUN"
    gone = [command for command in (*RUN, *NOT_RUN) if command not in PRINTED]
    assert not gone, "no document prints these any more"
    assert not RUN.keys() & NOT_RUN.keys()


def test_the_installed_script_is_what_is_run_here():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'gaussiancross = "gaussiancross.app.cli:main"' in text


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("docs"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    """Rooms and features of this session, not of the user's cache."""
    monkeypatch.setenv("GAUSSIANCROSS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


PARAMETERS = [
    pytest.param(command, id=f"{PRINTED.get(command, 'gone')} {command}", marks=[pytest.mark.slow] if run.slow else [])
    for command, run in RUN.items()
]


@pytest.mark.parametrize("command", PARAMETERS)
def test_command(command, workspace, tmp_path, monkeypatch, capfd):
    how = RUN[command]
    words = [dict(how.replaces).get(word, word) for word in shlex.split(command)] + shlex.split(how.add)
    if words[0].startswith("ns-"):
        pytest.importorskip("nerfstudio", reason="needs the nerfstudio extra")
    if how.needs:
        pytest.importorskip(how.needs)
    outputs = {words[i + 1] for i, word in enumerate(words[:-1]) if word in OUTPUT_OPTIONS}
    for name in workspace.needed(words, outputs):
        workspace.add(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    if how.serves:
        status, expected = serve_until_it_answers(words[1:]), 130
    elif words[0] == "gaussiancross":
        status, expected = run_here(words[1:]), 0
    else:
        done = subprocess.run([sys.executable, script(words[0]), *words[1:]], timeout=600)
        status, expected = done.returncode, 0
    printed = "".join(capfd.readouterr())
    assert status == expected, printed[-3000:]
    assert "Traceback" not in printed
    assert how.prints in printed
    for name in how.writes:
        path = tmp_path / name
        assert path.exists(), f"{name} is missing; there are {sorted(p.name for p in path.parent.glob('*'))}"
        assert path.is_dir() or path.stat().st_size > 0


def printed_python() -> list:
    """Fenced ``python`` blocks of all documents."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text[: block.start(1)].count("\n") + 1
            found.append(pytest.param(block[1], id=f"{document.relative_to(ROOT)}:{line}"))
    return found


@pytest.mark.parametrize("code", printed_python())
def test_python_block(code, workspace, tmp_path, monkeypatch):
    for name in workspace.needed(re.findall(r'"([^"]+)"', code), set()):
        workspace.add(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "block", "exec"), names)
    scene, features = names["scene"], names["features"]
    assert len(features) == len(scene) > 0 and bool(features.isfinite().all())


def anchors(document: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub and MyST make them, and of explicit targets."""
    text = document.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    made = {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return made | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_local_links_lead_somewhere(document):
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), f"{target}: no such file"
        assert not anchor or anchor in anchors(path), f"{target}: no such heading"


def test_the_readme_fits_two_screens():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120


def run_here(args: list[str]) -> int:
    """Exit status of `gaussiancross ARGS`."""
    try:
        return cli.main(args)
    except SystemExit as end:  # of --help
        return int(end.code or 0)


def serve_until_it_answers(args: list[str], timeout: float = 120) -> int:
    """Start a command that serves a page, press Ctrl-C when the page has answered, and return the exit status."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer: list[str] = []
    ended = threading.Event()

    def press_ctrl_c_after_the_answer() -> None:
        end = time.monotonic() + timeout
        while time.monotonic() < end and not answer and not ended.is_set():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as page:
                    answer.append(page.read(4096).decode("utf-8", "replace"))
            except OSError:
                time.sleep(0.1)
        pause = 0.2  # by then the command waits for Ctrl-C
        while not ended.wait(pause):  # again, in case a callback swallowed the first one
            os.kill(os.getpid(), signal.SIGINT)
            pause = 5.0

    thread = threading.Thread(target=press_ctrl_c_after_the_answer, daemon=True)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore Ctrl-C
    thread.start()
    try:
        status = cli.main([*args, "--port", str(port)])
    finally:
        ended.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
    if status == 130:
        assert answer and "<html" in answer[0].lower(), "the page did not answer"
    return status
