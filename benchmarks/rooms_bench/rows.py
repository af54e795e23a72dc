"""Rows of the table: initialisations of the network, and ablations of GaussianCross."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...core.errors import InputError
from ...trainers.pretraining.config import PretrainConfig
from .config import Size

Start = Literal["random", "scratch", "lifted", "contrastive", "gaussiancross"]
Group = Literal["baseline", "gaussiancross", "ablation"]
Change = Callable[[PretrainConfig], PretrainConfig]

PROBES = ("probe-last", "probe-hypercolumn")


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: name of its folder, and value of `--rows`.
        title: label in tables.
        group: table that it belongs to.
        start: source of the weights. "lifted" has none and probes a 2D teacher's features; "scratch" is random weights
            trained with all labels for more steps than in other rows.
        teacher: teacher of GaussianCross or of the lifting, a name of `make_teacher`.
        change: applied to the common pre-training options.
        longer: whether GaussianCross is pre-trained for more steps than in other rows.
        whole: whether it is also fine-tuned, on all shares and on instances, or only probed.
        quick: whether the quick variant contains it.
        baseline: name of the row that it differs from in one option.
    """

    name: str
    title: str
    group: Group
    start: Start
    teacher: str = "none"
    change: Change = lambda config: config
    longer: bool = False
    whole: bool = True
    quick: bool = False
    baseline: str = ""

    def tasks(self, size: Size) -> tuple[str, ...]:
        """Return its tasks in order: "pretrain", "probe-…", "finetune-<per cent>", "instances"."""
        if self.start == "lifted":
            return ("probe-lifted",)
        if self.start == "scratch":
            return ("finetune-100",)
        before = () if self.start == "random" else ("pretrain",)
        if not self.whole:
            return (*before, *PROBES)
        field = () if self.teacher == "none" else ("probe-field",)
        return (*before, *PROBES, *field, *(f"finetune-{share}" for share in size.shares), "instances")


def network_options(**values: Any) -> Change:
    """Change options of the network."""
    return lambda config: replace(config, model=replace(config.model, **values))


def loss_weights(**values: float) -> Change:
    """Change loss weights."""
    return lambda config: network_options(loss_weights={**config.model.loss_weights, **values})(config)


def splat_losses(**values: float) -> Change:
    """Use the paper's three losses only, with these weights."""
    return lambda config: network_options(point_weight=0.0)(loss_weights(**values)(config))


def input_options(**values: Any) -> Change:
    """Change options of the input."""
    return lambda config: network_options(input=replace(config.model.input, **values))(config)


def head_options(**values: Any) -> Change:
    """Change options of the Gaussian heads."""
    return lambda config: network_options(head=replace(config.model.head, **values))(config)


def view_count(count: int) -> Change:
    """Change the number of views per scene and step."""
    return lambda config: replace(config, data=replace(config.data, views=count))


LABEL_FREE_TEACHER = "builtin-ssl"
"""Teacher of rows whose teacher `BenchConfig.label_free_teacher` replaces."""

BEST_TEACHER = "gaussiancross-builtin"
"""Row of GaussianCross with the image/text teacher."""

LABEL_FREE = "gaussiancross-builtin-ssl"
"""Row of GaussianCross with the label-free teacher."""

CONTRAST = "gaussiancross-builtin-ssl-contrast"
"""Row of GaussianCross with the label-free teacher and the contrastive loss."""

LONGER = "gaussiancross-builtin-longer"
"""Row of GaussianCross with the image/text teacher and more steps: the bundled model."""

REFERENCE = "reference"
"""Row that the ablations are compared with, of as many steps."""

SPLATS = "without-points"
"""Row with the paper's three losses only, baseline of the ablations of these losses."""

BASELINES = (
    Row("random", "random weights (probed), from scratch (fine-tuned)", "baseline", "random", quick=True),
    Row("scratch", "from scratch with all labels for longer", "baseline", "scratch"),
    Row("lifted-builtin-ssl", "lifting, label-free teacher", "baseline", "lifted", LABEL_FREE_TEACHER),
    Row(
        "lifted-builtin",
        "lifting, image/text teacher (has seen class names)",
        "baseline",
        "lifted",
        "builtin",
        quick=True,
    ),
    Row("contrastive", "contrastive, two views of a scene (PointContrast, MSC)", "baseline", "contrastive", quick=True),
)

OURS = (
    Row("gaussiancross-none", "GaussianCross, colour and depth alone", "gaussiancross", "gaussiancross"),
    Row(
        LABEL_FREE,
        "GaussianCross, label-free teacher",
        "gaussiancross",
        "gaussiancross",
        LABEL_FREE_TEACHER,
    ),
    Row(
        CONTRAST,
        "GaussianCross, label-free teacher, and contrast",
        "gaussiancross",
        "gaussiancross",
        LABEL_FREE_TEACHER,
        input_options(pairs=2048),
        baseline=LABEL_FREE,
    ),
    Row(
        BEST_TEACHER,
        "GaussianCross, image/text teacher (has seen class names)",
        "gaussiancross",
        "gaussiancross",
        "builtin",
        quick=True,
    ),
    Row(
        "gaussiancross-builtin-ssl-longer",
        "GaussianCross, label-free teacher, for longer",
        "gaussiancross",
        "gaussiancross",
        LABEL_FREE_TEACHER,
        longer=True,
    ),
    Row(
        LONGER,
        "GaussianCross, image/text teacher (has seen class names), for longer",
        "gaussiancross",
        "gaussiancross",
        "builtin",
        longer=True,
    ),
)


def _ablation(
    name: str, title: str, change: Change, quick: bool = False, teacher: str = "builtin", baseline: str = REFERENCE
) -> Row:
    return Row(name, title, "ablation", "gaussiancross", teacher, change, whole=False, quick=quick, baseline=baseline)


ABLATIONS = (
    _ablation(REFERENCE, "reference", lambda config: config, quick=True, baseline=""),
    _ablation("without-colour", "no colour loss", loss_weights(rgb=0.0), quick=True),
    _ablation("without-depth", "no depth loss", loss_weights(depth=0.0)),
    _ablation("without-splatted-features", "no splatted features", loss_weights(feature=0.0)),
    _ablation(SPLATS, "no point loss (the paper's three)", network_options(point_weight=0.0)),
    _ablation("splats-without-colour", "… and no colour loss", splat_losses(rgb=0.0), baseline=SPLATS),
    _ablation("splats-without-depth", "… and no depth loss", splat_losses(depth=0.0), baseline=SPLATS),
    _ablation(
        "splats-without-features", "… and no splatted features", network_options(), teacher="none", baseline=SPLATS
    ),
    _ablation("raw-targets", "targets of the point loss not standardised", network_options(point_standardize=False)),
    _ablation("last-stage", "point loss of the last stage alone", network_options(point_stages="last")),
    _ablation("points-alone", "point loss alone, nothing splatted", loss_weights(rgb=0.0, depth=0.0, feature=0.0)),
    _ablation("mask-0", "nothing masked", input_options(mask_ratio=0.0)),
    _ablation("mask-25", "25 % of the points masked", input_options(mask_ratio=0.25)),
    _ablation("mask-75", "75 % of the points masked", input_options(mask_ratio=0.75)),
    _ablation("without-pruning", "no pruning by opacity", head_options(prune_threshold=0.0, prune_floor=0.0)),
    _ablation("lattice-ponder", "PonderV2's lattice instead of the true cuboid", network_options(lattice="ponder")),
    _ablation("one-level", "lattice anchors alone (the paper's)", network_options(anchors="lattice")),
    _ablation("views-1", "1 view per scene", view_count(1)),
    _ablation("learned-weights", "loss weights learned by uncertainty", network_options(adaptive_weights=True)),
)
"""Effect of each part of the reference; and of each rendered attribute, with and without the point loss."""

ROWS = (*BASELINES, *OURS, *ABLATIONS)


def choose_rows(names: Sequence[str], quick: bool = False) -> tuple[Row, ...]:
    """Return the rows of these names in the table's order; without names all rows (of the quick variant).

    Raises:
        InputError: an unknown name; lists the known ones.
    """
    known = [row.name for row in ROWS]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError("--rows", f"some of {', '.join(known)}", ", ".join(unknown))
    if not names:
        return tuple(row for row in ROWS if row.quick or not quick)
    return tuple(row for row in ROWS if row.name in names)
