"""`gaussiancross bench rooms`: tasks that run once, the contrastive baseline, the table and its text."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaussiancross.benchmarks import _charts, rooms
from gaussiancross.benchmarks.rooms_bench import MICRO, BenchConfig, Job, choose_rows, make_jobs, read_results, run_jobs
from gaussiancross.benchmarks.rooms_bench import data as bench_data
from gaussiancross.benchmarks.rooms_bench import tasks as bench_tasks
from gaussiancross.benchmarks.rooms_bench.export import export_model
from gaussiancross.benchmarks.rooms_bench.jobs import clock
from gaussiancross.benchmarks.rooms_bench.report import Mean, Table, goals, main_table, sentences, verdict
from gaussiancross.benchmarks.rooms_bench.rows import ABLATIONS, BEST_TEACHER, CONTRAST, REFERENCE, ROWS, SPLATS
from gaussiancross.benchmarks.rooms_bench.tasks import Interrupted, TaskRunner
from gaussiancross.core.data.augment import NO_SCENE_AUGMENT
from gaussiancross.core.errors import InputError
from gaussiancross.core.io.pretrained import read_pretrained
from gaussiancross.core.models import GaussianCross
from gaussiancross.trainers.pretraining.contrastive_baseline import ContrastiveConfig, ContrastiveTrainer
from gaussiancross.trainers.pretraining.data import PretrainData
from gaussiancross.trainers.pretraining.trainer import Pretrainer
from helpers.bench_rooms import Boxes, Halves
from helpers.box_room import SMALL
from rich.console import Console

SIZE = replace(MICRO, probe_steps=3, shares=(50, 100))
SETTING = BenchConfig(
    size=SIZE,
    pretrain=replace(SMALL, data=replace(SMALL.data, width=24, height=18), timeline_mb=0, probe=True),
)
for _part in ("probe", "finetune", "instances"):
    _config = getattr(SETTING, _part)
    SETTING = replace(SETTING, **{_part: replace(_config, voxel_size=0.4, augment=NO_SCENE_AUGMENT)})
SETTING = replace(
    SETTING,
    pretrain=replace(
        SETTING.pretrain,
        model=replace(
            SETTING.pretrain.model,
            input=replace(SETTING.pretrain.model.input, voxel_size=0.4),
            lattice_cells=128,
            lattice_shape=(4, 4, 4),
            fine_voxel=0.4,
            point_weight=1.0,
        ),
    ),
)
QUIET = Console(quiet=True)


@pytest.fixture
def boxes(monkeypatch):
    monkeypatch.setattr(bench_tasks, "Rooms", Boxes)
    monkeypatch.setattr(bench_data, "make_teacher", lambda spec: Halves())


def test_a_slice_of_the_table_runs_stops_goes_on_and_is_reported(boxes, tmp_path, monkeypatch):
    rows = choose_rows(("random", "lifted-builtin", "contrastive", BEST_TEACHER))
    jobs = make_jobs(rows, SIZE, tmp_path / "out")
    # Ctrl-C in the third row's second task …
    done, run = [], TaskRunner.run

    def interrupted(self, job, task):
        if (job.row.name, task) == ("contrastive", "probe-last"):
            raise Interrupted
        done.append((job.row.name, task))
        return run(self, job, task)

    monkeypatch.setattr(TaskRunner, "run", interrupted)
    assert not run_jobs(jobs, SETTING, root=tmp_path, console=QUIET)
    assert done[-1] == ("contrastive", "pretrain") and ("lifted-builtin", "probe-lifted") in done
    before = {job.folder: read_results(job) for job in jobs}

    # … and the same command again: nothing twice, nothing left out.
    def counted(self, job, task):
        done.append((job.row.name, task))
        return run(self, job, task)

    monkeypatch.setattr(TaskRunner, "run", counted)
    assert run_jobs(jobs, SETTING, root=tmp_path, console=QUIET)
    assert sorted(done) == sorted((job.row.name, task) for job in jobs for task in job.row.tasks(SIZE))
    assert run_jobs(jobs, SETTING, root=tmp_path, console=QUIET) and len(done) == len(set(done))
    for job in jobs:
        assert before[job.folder].items() <= read_results(job).items()
        assert not any((job.folder / "work").glob("*"))
    results = read_results(jobs[-1])
    assert [step for step, _ in results["pretrain"]["curves"]["rank"]] == [3]
    assert results["pretrain"]["label_free"] and results["finetune-50"]["rooms"] == 1
    assert all(0 <= results[task]["miou"] <= 1 for task in ("probe-last", "probe-hypercolumn", "finetune-100"))

    rooms.report(tmp_path, "table", jobs, SETTING)
    text = (tmp_path / "table.md").read_text()
    assert "random weights" in text and f"{len(done)} of {len(done)} tasks" in text
    assert json.loads((tmp_path / "table.json").read_text())["values"][BEST_TEACHER]["probe-last"]["seeds"].keys() == {
        "0"
    }
    assert {p.name for p in tmp_path.glob("*.png")} == {f"table-{k}.png" for k in ("probe", "labels", "rank")}

    chosen = export_model(tmp_path / "shipped", jobs, SETTING)
    model = GaussianCross.from_pretrained(tmp_path / "shipped")
    kept = GaussianCross.from_pretrained(chosen.folder / "model")
    assert torch.equal(model.head.rest.weight, kept.head.rest.weight.half().float())
    card = read_pretrained(tmp_path / "shipped").about
    assert card["scores_on_held_out_rooms"]["probe-last"]["miou"] == results["probe-last"]["miou"]

    with pytest.raises(InputError, match="results of the setting that is asked for"):
        run_jobs(jobs, replace(SETTING, size=replace(SIZE, pretrain_steps=4)), root=tmp_path, console=QUIET)
    for job in jobs:  # of a version that did not know an option
        path = job.folder / "results.json"
        report = json.loads(path.read_text())
        del report["setting"]["pretrain"]["model"]["input"]["pairs"], report["setting"]["probe"]["micro_batch"]
        path.write_text(json.dumps(report))
    assert run_jobs(jobs, SETTING, root=tmp_path, console=QUIET)
    more = make_jobs(rows, replace(SIZE, seeds=2), tmp_path / "out")
    assert len(more) == 2 * len(jobs) and more[: len(jobs)] == jobs


def test_a_real_interruption_continues_exactly(boxes, tmp_path, monkeypatch):
    row = choose_rows(("gaussiancross-none",))[0]
    straight, broken = (Job(row, 0, tmp_path / name) for name in ("straight", "broken"))
    place = TaskRunner(SETTING, tmp_path)
    place.run(straight, "pretrain")
    step = bench_tasks.Pretrainer.train_step

    def killed(self, batch):
        if self.step == 2:
            raise KeyboardInterrupt
        metrics = step(self, batch)
        self.save()
        return metrics

    monkeypatch.setattr(bench_tasks.Pretrainer, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        place.run(broken, "pretrain")
    monkeypatch.setattr(bench_tasks.Pretrainer, "train_step", step)
    TaskRunner(SETTING, tmp_path).run(broken, "pretrain")
    one, other = (GaussianCross.from_pretrained(job.folder / "model").state_dict() for job in (straight, broken))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_time_that_was_interrupted_counts(boxes, tmp_path, monkeypatch):
    job, place = Job(choose_rows(("random",))[0], 0, tmp_path / "job"), TaskRunner(SETTING, tmp_path)
    clock = iter([0.0, 7.0, 100.0, 102.0])
    monkeypatch.setattr(bench_tasks.time, "perf_counter", lambda: next(clock))

    def ends(self, job, task, work):
        raise Interrupted

    monkeypatch.setattr(TaskRunner, "execute", ends)
    with pytest.raises(Interrupted):
        place.run(job, "probe-last")
    monkeypatch.setattr(TaskRunner, "execute", lambda *given: {"miou": 0.5})
    assert place.run(job, "probe-last") == {"miou": 0.5, "seconds": 9.0}


class TestRows:
    def test_every_ablation_changes_something_of_a_row_as_long(self):
        place = TaskRunner(BenchConfig())
        by = {row.name: place.pretrain_config(row, 0) for row in ABLATIONS}
        for row in ABLATIONS:
            assert list(by.values()).count(by[row.name]) == 1, row.name
            assert by[row.name].steps == place.setting.size.ablation_steps
            assert (row.baseline in by) == (row.name != REFERENCE)
        longer = place.pretrain_config(choose_rows((BEST_TEACHER,))[0], 0)
        assert replace(longer, steps=0, eval_every=0) == replace(by[REFERENCE], steps=0, eval_every=0)
        model = place.pretrain_config(choose_rows(("points-alone",))[0], 0).model
        assert set(model.loss_weights.values()) == {0.0} and model.point_weight == longer.model.point_weight > 0

    @pytest.mark.parametrize("name", [CONTRAST, *(row.name for row in ABLATIONS)])
    def test_every_change_takes_a_step(self, boxes, tmp_path, name):
        place, row = TaskRunner(SETTING, tmp_path), choose_rows((name,))[0]
        config = place.pretrain_config(row, 0)
        teacher = place.teacher(row.teacher)
        data = PretrainData(config.data, config.model.input, 0, place.unlabelled, place.held_out, teacher)
        trainer = Pretrainer(config, tmp_path / "run", data, "cpu")
        metrics = trainer.train_step(data.batch(0))
        assert math.isfinite(metrics["loss/total"]) and metrics["nan_steps"] == 0
        assert ("loss/points" in metrics) == (SPLATS not in (name, row.baseline))
        assert ("loss/contrast" in metrics) == (name == CONTRAST)

    def test_names(self):
        assert [r.name for r in choose_rows(("contrastive", "random"))] == ["random", "contrastive"]
        assert choose_rows(()) == ROWS and set(choose_rows((), quick=True)) < set(ROWS)
        with pytest.raises(InputError, match="mask-25"):
            choose_rows(("mask-26",))

    def test_the_tasks_of_a_row(self):
        by = {row.name: row.tasks(SIZE) for row in ROWS}
        assert by["lifted-builtin"] == ("probe-lifted",)
        assert "pretrain" not in by["random"] and "instances" in by["random"]
        assert by["mask-0"] == ("pretrain", "probe-last", "probe-hypercolumn")


class TestContrast:
    config = ContrastiveConfig(8, (8,) * 8, (1,) * 8, voxel_size=0.4, pairs=64, steps=4, eval_every=2)

    def test_it_learns_and_resumes_exactly(self, tmp_path):
        data = Boxes("train", 2)
        straight = ContrastiveTrainer(self.config, tmp_path / "a", data, data, "cpu")
        straight.fit(console=QUIET)
        first = ContrastiveTrainer(self.config, tmp_path / "b", data, data, "cpu")
        for step in range(2):
            first.train_step(first.batch(step))
        first.save()
        second = ContrastiveTrainer(self.config, tmp_path / "b", data, data, "cpu")
        assert second.resume() and second.step == 2
        second.fit(console=QUIET)
        weights = straight.model.state_dict()
        assert all(torch.equal(v, weights[k]) for k, v in second.model.state_dict().items())
        assert straight.evaluate()["eval/effective_rank"] > 1
        again = ContrastiveTrainer(replace(self.config, steps=20), tmp_path / "c", data, data, "cpu")
        pair = again.batch(0)
        losses = [again.train_step(pair)["loss/contrast"] for _ in range(10)]
        assert losses[-1] < losses[0]


def stored(folder: Path, name: str, seed: int, **scores: float) -> Job:
    """A job with invented results; keys are tasks with _ for -, values mIoU."""
    row = choose_rows((name,))[0]
    tasks = {task.replace("_", "-"): {"miou": value, "allacc": 0.5, "seconds": 1.0} for task, value in scores.items()}
    if row.start != "lifted":
        curve = {"rank": [[1, 4.0], [2, 20.0]]}
        tasks["pretrain"] = {"curves": curve, "width": 32, "seconds_per_step": 0.1, "seconds": 9.0, "label_free": True}
    job = Job(row, seed, folder / name / str(seed))
    job.folder.mkdir(parents=True)
    (job.folder / "results.json").write_text(json.dumps({"tasks": tasks}))
    return job


class TestReport:
    size = replace(MICRO, shares=(1, 100), seeds=3)

    @pytest.fixture
    def table(self, tmp_path):
        jobs = []
        for seed, (own, dark, deep) in enumerate([(0.50, 0.40, 0.50), (0.52, 0.44, 0.51), (0.54, 0.45, 0.55)]):
            jobs.append(stored(tmp_path, "random", seed, probe_last=0.2, finetune_1=0.1, finetune_100=0.6))
            jobs.append(stored(tmp_path, "lifted-builtin", seed, probe_lifted=0.56))
            for name in (BEST_TEACHER, REFERENCE):
                scores = {"probe_last": own, "probe_hypercolumn": own + 0.1, "finetune_1": 0.25}
                jobs.append(stored(tmp_path, name, seed, **scores))
            jobs.append(stored(tmp_path, "without-colour", seed, probe_last=dark, probe_hypercolumn=dark + 0.1))
            jobs.append(stored(tmp_path, "without-depth", seed, probe_last=deep, probe_hypercolumn=own + 0.2))
            jobs.append(stored(tmp_path, "mask-0", seed, probe_last=dark))
        return Table.of(jobs)

    def test_means_over_seeds_and_differences_seed_by_seed(self, table):
        mean = table.mean(BEST_TEACHER, "probe-last")
        assert (mean.mean, mean.std, mean.count) == (pytest.approx(0.52), pytest.approx(0.02), 3)
        change = table.difference("without-colour", "probe-last", REFERENCE)
        assert change.mean == pytest.approx(-0.09) and change.std == pytest.approx(0.01)
        assert table.mean("lifted-builtin", "probe-last").mean == pytest.approx(0.56)
        assert table.mean(REFERENCE, "ap") is None and table.difference("random", "ap", REFERENCE) is None
        assert table.curve(REFERENCE, "rank") == [(1, 4.0), (2, 20.0)]
        header, cells = main_table(table, self.size)
        row = next(c for c in cells if c[0].startswith("GaussianCross, image/text"))
        assert row[header.index("linear probe")] == "52.0 ± 2.0" and row[-1] == "20.0 (62%)" and "" in row

    def test_the_text_follows_the_numbers(self, table):
        said = " ".join(sentences(table))
        helps = "Colour beside the point loss (ablated): last layer helps, -9.0 ± 1.0; hypercolumn helps, -9.0"
        assert helps in said
        assert "Depth beside the point loss (ablated): last layer no difference beyond the seeds' spread" in said
        assert "hypercolumn harms, +10.0 ± 0.0" in said
        assert "Splatted features" not in said and "Nothing masked" not in said  # never run; half run
        assert "hypercolumn instead of the last layer, over all rows: better (+12.5 ±" in said

    @pytest.mark.parametrize(
        ("values", "word"),
        [
            ((0.029, 0.03), "better"),
            ((-0.029, -0.03), "worse"),
            ((0.02, 0.03), "no difference beyond the seeds' spread"),  # two say little
            ((0.05, -0.01), "no difference beyond the seeds' spread"),
            ((0.02, 0.03, 0.04), "better"),  # 5.2 standard errors
            ((0.01, 0.03, 0.04), "no difference beyond the seeds' spread"),  # 3.0
            ((0.001, 0.001), "no difference beyond the seeds' spread"),
            ((0.3,), "undecided (one seed)"),
        ],
    )
    def test_verdicts(self, values, word):
        assert verdict(Mean.of(values)) == word

    def test_goals(self, table):
        by = {goal.what: goal for goal in goals(table, self.size)}
        assert by["linear probe over that of random weights"].found == "2.60 ×"
        assert by["linear probe over that of random weights"].met is True
        assert by["probe of the hypercolumn over that of random weights"].met is None  # random weights were not asked
        assert by["linear probe over the lifted features'"].met is False
        assert by["probe of the hypercolumn over the lifted features'"].met is True
        assert by["linear probe over training from scratch with all labels"].found == "0.87 ×"
        assert by["fine-tuning on 1 % of the rooms, over scratch"].found == "+15.0 points"
        assert by["effective rank over the features' width"].met is True
        missing = goals(Table(table.rows, {}, {}), self.size)
        assert {g.found for g in missing} == {"not measured"} and {g.met for g in missing} == {None}

    def test_clock(self):
        assert [clock(s) for s in (20, 600, 3600 * 5 + 120)] == ["0 min", "10 min", "5 h 02 min"]


class TestCharts:
    @pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 57.3), (-3.2, 8), (2, 2), (0, 1e-3), (1, 3000)])
    def test_ticks_cover_and_are_few(self, low, high):
        ticks = _charts.nice_ticks(low, high)
        assert ticks[0] <= low and ticks[-1] >= high - 1e-9 and 2 <= len(ticks) <= 9
        assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])

    def test_a_longer_bar_for_a_larger_value(self):
        items = [
            _charts.Bar("a", (10.0,), (0.0,)),
            _charts.Bar("b", (20.0,), (math.nan,)),
            _charts.Bar("c", (None,), (0,)),
        ]
        image = np.asarray(_charts.bars(items, ("x",), "title", "%"))
        blue = np.abs(image.astype(int) - (0x3B, 0x6F, 0xB6)).sum(-1) < 12
        lengths = [int(n) for n in blue[64:, 360:].sum(1) if n > 5]
        assert max(lengths) == pytest.approx(2 * min(lengths), rel=0.05)

    def test_curves_of_nothing_and_of_one_point(self):
        for lines in ([], [_charts.Curve("a", ())], [_charts.Curve("a", ((1.0, 2.0, math.nan),))]):
            for even in (True, False):
                assert _charts.curves(lines, "t", "x", "y", even).size[0] == 1000
