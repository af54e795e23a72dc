"""Search a scene by words: teacher features lifted onto points, relevancy, threshold, objects with boxes.

The same as `gaussiancross query DATA PHRASES --field lifted`, step by step. DATA is a capture, or a procedural room.

    python examples/04_query_scene.py rooms:1 sofa lamp "red chair"
"""

from __future__ import annotations

import tyro
from gaussiancross import make_teacher, open_dataset
from gaussiancross.core.features.lifting import LiftConfig, lift
from gaussiancross.core.query import Query, QueryableFeatures, ask, choose_cut, group


def main(
    data: tyro.conf.Positional[str],
    phrases: tyro.conf.Positional[tuple[str, ...]],
    teacher: str = "builtin",
    frames: int | None = None,
) -> None:
    """Search the first scene of DATA for PHRASES.

    Args:
        data: "rooms:1", a capture or a Pointcept folder.
        phrases: what to look for.
        teacher: 2D model with a text tower, such as "clip:openai/clip-vit-base-patch16".
        frames: use so many frames, evenly spaced; all by default.
    """
    scenes = open_dataset(data, "val")
    scene, posed = scenes.scene(0), scenes.frames(0)
    assert posed is not None, "this data set has no images"
    model = make_teacher(teacher)
    assert model is not None

    # Mean of the teacher's features over the frames that see a point: [N, D].
    lifted = lift(scene.coord, posed, model, scene.name, LiftConfig(frames=frames))
    print(f"{scene.name}: {len(scene):,} points, {lifted.seen:.0%} of them seen by a frame")

    answer = ask(QueryableFeatures.build(lifted.features, model.text), Query(tuple(phrases)))
    for phrase in answer.phrases:
        if phrase.unknown is not None:
            print(phrase.unknown)
    for column, phrase in enumerate(answer.known_phrases):
        scores = answer.phrase_scores[:, column]  # [N] relevancy; 0.5 is as much as the nearest negative
        cut = choose_cut(scores, floor=0.5)
        found = group(scene.coord, (scores > cut.value).numpy(), scores) if phrase.presence.present else []
        print(f"{phrase.phrase}: {len(found)} objects above {cut.value:.2f}")
        for item in found[:3]:
            print(f"    {item.size:,} points from {item.box_min.round(2)} to {item.box_max.round(2)} m")


if __name__ == "__main__":
    tyro.cli(main)
