"""Text queries in rooms with known contents, and scores of the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from ..core.data.classes import SCANNET20
from ..core.data.scene import PointScene
from ..core.geometry.gaussians import Gaussians, quat_to_rotmat
from ..core.query import Calibration, QueryableFeatures, ask, calibrate, choose_cut, peak, roc_auc, template_for
from ..core.query.ask import Query
from ..core.query.domain import Domain
from ..core.synthetic.rooms.captions import SYNONYMS, Description

LEAST = 100
"""Minimum number of visible points of a queried thing (of 100,000 in a room)."""

NOT_ASKED = ("wall", "floor", "ceiling")
"""Names that are not queried: always present, and as large as the room."""


@dataclass(frozen=True)
class RoomTruth:
    """Contents of one room.

    Attributes:
        scene: its points.
        thing: [N] id of each point's thing: its instance, −1 walls, −2 floor, −3 ceiling.
        things: id → description, also of hidden things.
        counts: id → number of points.
    """

    scene: PointScene
    thing: NDArray[np.int64]
    things: dict[int, Description]
    counts: dict[int, int]

    @staticmethod
    def of(scene: PointScene, things: dict[int, Description]) -> RoomTruth:
        assert scene.instance is not None and scene.segment is not None
        thing = scene.instance.copy()
        thing[(thing < 0) & (scene.segment == SCANNET20.index("floor"))] = -2
        thing[(thing < 0) & (scene.segment < 0)] = -3
        ids, counts = np.unique(thing, return_counts=True)
        return RoomTruth(scene, thing, things, dict(zip(ids.tolist(), counts.tolist(), strict=True)))

    def where(self, claims: Sequence[tuple[str, str]]) -> list[int]:
        """Return the ids of things of which all claims are true."""
        return [i for i, d in self.things.items() if d.facts().issuperset(claims)]

    def questions(self) -> list[RoomQuestion]:
        """Return the queries of this room.

        Names of things with at least `LEAST` points; colour and name where other things of that name lack the colour;
        and names of the vocabulary that are not in the room.
        """
        shown = {i for i, n in self.counts.items() if n >= LEAST and i in self.things}
        names = sorted({self.things[i].name for i in shown} - set(NOT_ASKED))
        out = [RoomQuestion(n, (("word", n),), "present") for n in names]
        for word in sorted({w for i in shown if i >= 0 for w in self.things[i].words}):
            rivals = [i for i in self.where([("word", word)]) if i in shown]
            colors = {c for i in rivals for c in self.things[i].colors[:1]}
            for color in sorted(colors):
                has = [color in self.things[i].colors for i in rivals]
                if not all(has):
                    out.append(RoomQuestion(f"{color} {word}", (("color", color), ("word", word)), "color"))
        missing = [n for n in SYNONYMS if n not in NOT_ASKED and not self.where([("word", n)])]
        return out + [RoomQuestion(n, (("word", n),), "absent") for n in missing]


@dataclass(frozen=True)
class RoomQuestion:
    """One query: its phrase, the facts that it claims, and its kind: "present", "absent" or "color"."""

    phrase: str
    claims: tuple[tuple[str, str], ...]
    kind: str


@dataclass
class Tally:
    """Results of one feature field over rooms; one entry per query that the text encoder knows.

    Attributes:
        hits: (room, phrase, whether the best point lies on a right thing) of present names.
        ious: IoUs of their selections.
        colors: like ``hits``, of colour and name.
        there, absent: peak relevancy of present and of absent names.
        unknown: phrases that the text encoder does not know.
        rules: (floor, share) → IoUs of the selections by that rule.
        scenes: a sample of each room's features, for `Domain.fit`.
    """

    hits: list[tuple[str, str, bool]] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)
    colors: list[tuple[str, str, bool]] = field(default_factory=list)
    there: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    rules: dict[tuple[float, float], list[float]] = field(default_factory=dict)
    scenes: list[Tensor] = field(default_factory=list)

    def summary(self, cut: float) -> dict[str, float]:
        """Compute the scores; ``cut`` is the calibrated threshold of presence."""
        accepted = np.mean([p > cut for p in self.there]) if self.there else np.nan
        rejected = np.mean([p <= cut for p in self.absent]) if self.absent else np.nan
        return {
            "hit": _mean([h for *_, h in self.hits]),
            "iou": _mean(self.ious),
            "absent_auc": roc_auc(np.array(self.there), np.array(self.absent))
            if self.there and self.absent
            else np.nan,
            "color_hit": _mean([h for *_, h in self.colors]),
            "accepted": float(accepted),
            "rejected": float(rejected),
            "queries": len(self.hits),
            "absent_queries": len(self.absent),
            "color_queries": len(self.colors),
        }

    def by_name(self) -> dict[str, tuple[int, float, float]]:
        """Return phrase → (queries, share of hits, mean IoU)."""
        out = {}
        for name in sorted({phrase for _, phrase, _ in self.hits}):
            rows = [k for k, (_, phrase, _) in enumerate(self.hits) if phrase == name]
            out[name] = len(rows), _mean([self.hits[k][2] for k in rows]), _mean([self.ious[k] for k in rows])
        return out


def _mean(values: Sequence[float | bool]) -> float:
    return float(np.mean(values)) if values else float("nan")


RULES = tuple((floor, share) for floor in (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5) for share in (0.0, 0.4, 0.5, 0.6))
"""Candidates of a calibration: lowest threshold, and threshold as a share of the peak."""


def _iou(selected: NDArray[np.bool_], right: NDArray[np.bool_]) -> float:
    return float((selected & right).sum() / max(1, (selected | right).sum()))


def calibrated(tally: Tally, data: str = "") -> Calibration:
    """Return the best threshold of presence and selection rule, and the domain of the rooms, called ``data``."""
    fitted = calibrate(np.array(tally.there), np.array(tally.absent))
    floor, share = max(tally.rules, key=lambda rule: _mean(tally.rules[rule]))
    domain = Domain.fit(tally.scenes) if tally.scenes else None
    return fitted._replace(floor=floor, share=share, data=data, domain=domain)


def examine(truth: RoomTruth, words: QueryableFeatures, tally: Tally, rules: bool = False) -> None:
    """Query a feature field with all queries of a room, and add the results to ``tally``.

    Args:
        truth: contents of the room.
        words: features of the room's points, in order.
        tally: receives the results.
        rules: also evaluate all `RULES`.
    """
    questions = truth.questions()
    asked = Query(tuple(dict.fromkeys(q.phrase for q in questions)), template=template_for(words.encoder))
    answer = ask(words, asked)
    known = [p.phrase for p in answer.known_phrases]
    tally.unknown |= {p.phrase for p in answer.phrases} - set(known)
    if answer.phrase_scores is None:
        return
    column = {phrase: k for k, phrase in enumerate(known)}
    for question in questions:
        if question.phrase not in column:
            continue
        scores = answer.phrase_scores[:, column[question.phrase]]
        if question.kind == "absent":
            tally.absent.append(peak(scores))
            continue
        right = np.isin(truth.thing, truth.where(question.claims))
        hit = bool(right[int(scores.argmax())])
        if question.kind == "color":
            tally.colors.append((truth.scene.name, question.phrase, hit))
            continue
        tally.hits.append((truth.scene.name, question.phrase, hit))
        tally.there.append(peak(scores))
        selected = (scores > choose_cut(scores, words.min_threshold(scores)).value).numpy()
        tally.ious.append(_iou(selected, right))
        if rules:
            best = peak(scores)
            for floor, share in RULES:
                selected = (scores > max(floor, share * best)).numpy()
                tally.rules.setdefault((floor, share), []).append(_iou(selected, right))


def at_points(gaussians: Gaussians, features: Tensor, coord: NDArray[np.floating], nearest: int = 8) -> Tensor:
    """Interpolate features [N, D] of Gaussians at points [P, 3] of the same world.

    Mean over the nearest centres, weighted by opacity · exp(−½ Mahalanobis distance²); if all weights vanish, the
    feature of the nearest one.

    Returns:
        [P, D] float32.
    """
    means = gaussians.means.detach().cpu().double().numpy()
    count = min(nearest, len(means))
    _, index = KDTree(means).query(coord, k=count)
    index = torch.from_numpy(np.asarray(index).reshape(len(coord), count))
    apart = torch.from_numpy(np.asarray(coord, np.float64))[:, None] - torch.from_numpy(means)[index]
    axes = quat_to_rotmat(gaussians.quats.detach().cpu().double())[index]
    local = torch.einsum("pkji,pkj->pki", axes, apart) / gaussians.scales.detach().cpu().double()[index]
    weight = gaussians.opacities.detach().cpu().double()[index] * torch.exp(-0.5 * local.square().sum(-1))
    lost = weight.sum(1) < 1e-6
    weight[lost] = 0
    weight[lost, 0] = 1
    weight = (weight / weight.sum(1, keepdim=True)).float()
    out = torch.zeros(len(coord), features.shape[1])
    for k in range(count):
        out += weight[:, k : k + 1] * features.detach().cpu().float()[index[:, k]]
    return out
