"""The rows of the table: where a network's weights come from."""

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
    """One row.

    Attributes:
        name: of its folder, and what `--rows` takes.
        title: in tables.
        group: which table it belongs to.
        start: where the weights come from; "lifted" has none, it reads a 2D teacher's features; "scratch" is random
            weights that are trained with all labels for longer than those of other rows.
        longer: whether GaussianCross is pre-trained for longer than in other rows.
        teacher: of GaussianCross or of the lifting, as `make_teacher` names it.
        change: of the common pre-training.
        whole: whether it is also fine-tuned, on every share and on instances, or only probed.
        quick: whether the quick variant has it.
        against: the row that this one changes one thing of.
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
    against: str = ""

    def tasks(self, size: Size) -> tuple[str, ...]:
        """What is done for it, in order: "pretrain", "probe-…", "finetune-<per cent>", "instances"."""
        if self.start == "lifted":
            return ("probe-lifted",)
        if self.start == "scratch":
            return ("finetune-100",)
        before = () if self.start == "random" else ("pretrain",)
        if not self.whole:
            return (*before, *PROBES)
        field = () if self.teacher == "none" else ("probe-field",)
        return (*before, *PROBES, *field, *(f"finetune-{share}" for share in size.shares), "instances")


def model(**values: Any) -> Change:
    """Options of the network."""
    return lambda config: replace(config, model=replace(config.model, **values))


def weights(**values: float) -> Change:
    """Loss weights."""
    return lambda config: model(loss_weights={**config.model.loss_weights, **values})(config)


def splats(**values: float) -> Change:
    """The paper's three losses alone, with these weights."""
    return lambda config: model(point_weight=0.0)(weights(**values)(config))


def given(**values: Any) -> Change:
    """Options of the input."""
    return lambda config: model(input=replace(config.model.input, **values))(config)


def head(**values: Any) -> Change:
    """Options of the Gaussian heads."""
    return lambda config: model(head=replace(config.model.head, **values))(config)


def views(count: int) -> Change:
    """So many views per scene and step."""
    return lambda config: replace(config, data=replace(config.data, views=count))


BEST_TEACHER = "gaussiancross-builtin"
"""GaussianCross with the image/text teacher, for as long as the other main rows."""

LABEL_FREE = "gaussiancross-builtin-ssl"
"""The same with the label-free teacher."""

CONTRAST = "gaussiancross-builtin-ssl-contrast"
"""The same, and the contrastive baseline's loss beside its own."""

LONGER = "gaussiancross-builtin-longer"
"""The same with more time: the model that ships."""

REFERENCE = "reference"
"""What the ablations change one thing of, for as long as they."""

SPLATS = "without-points"
"""The paper's three losses, with one of which less some more ablations are made."""

BASELINES = (
    Row("random", "random weights (probed), from scratch (fine-tuned)", "baseline", "random", quick=True),
    Row("scratch", "from scratch with all labels for longer", "baseline", "scratch"),
    Row("lifted-builtin-ssl", "lifting, label-free teacher", "baseline", "lifted", "builtin-ssl"),
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
        "builtin-ssl",
    ),
    Row(
        CONTRAST,
        "GaussianCross, label-free teacher, and contrast",
        "gaussiancross",
        "gaussiancross",
        "builtin-ssl",
        given(pairs=2048),
        against=LABEL_FREE,
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
        "builtin-ssl",
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
    name: str, title: str, change: Change, quick: bool = False, teacher: str = "builtin", against: str = REFERENCE
) -> Row:
    return Row(name, title, "ablation", "gaussiancross", teacher, change, whole=False, quick=quick, against=against)


ABLATIONS = (
    _ablation(REFERENCE, "reference", lambda config: config, quick=True, against=""),
    _ablation("without-colour", "no colour loss", weights(rgb=0.0), quick=True),
    _ablation("without-depth", "no depth loss", weights(depth=0.0)),
    _ablation("without-splatted-features", "no splatted features", weights(feature=0.0)),
    _ablation(SPLATS, "no point loss (the paper's three)", model(point_weight=0.0)),
    _ablation("splats-without-colour", "… and no colour loss", splats(rgb=0.0), against=SPLATS),
    _ablation("splats-without-depth", "… and no depth loss", splats(depth=0.0), against=SPLATS),
    _ablation("splats-without-features", "… and no splatted features", model(), teacher="none", against=SPLATS),
    _ablation("raw-targets", "targets of the point loss not standardised", model(point_standardize=False)),
    _ablation("last-stage", "point loss of the last stage alone", model(point_stages="last")),
    _ablation("points-alone", "point loss alone, nothing splatted", weights(rgb=0.0, depth=0.0, feature=0.0)),
    _ablation("mask-0", "nothing masked", given(mask_ratio=0.0)),
    _ablation("mask-25", "25 % of the points masked", given(mask_ratio=0.25)),
    _ablation("mask-75", "75 % of the points masked", given(mask_ratio=0.75)),
    _ablation("without-pruning", "no pruning by opacity", head(prune_threshold=0.0, prune_floor=0.0)),
    _ablation("lattice-ponder", "PonderV2's lattice instead of the true cuboid", model(lattice="ponder")),
    _ablation("one-level", "lattice anchors alone (the paper's)", model(anchors="lattice")),
    _ablation("views-1", "1 view per scene", views(1)),
    _ablation("learned-weights", "loss weights learned by uncertainty", model(adaptive_weights=True)),
)
"""What each part of the reference does; what each attribute does, beside the point loss and alone."""

ROWS = (*BASELINES, *OURS, *ABLATIONS)


def choose_rows(names: Sequence[str], quick: bool = False) -> tuple[Row, ...]:
    """The rows of these names, in the table's order; all of them (of the quick variant) without any.

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
