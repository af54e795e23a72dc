"""Frozen 2D networks that map images to dense features.

registry      `make_teacher`: the teacher of a name on the command line
base          interfaces `Teacher` and `ImageTeacher`
builtin       bundled image/text model; its words in `vocabulary`
builtin_dino  the same with a head on the tokens of a DINOv2
builtin_ssl   bundled label-free model; `bundled` loads the networks of the three
further_names names outside the captions of `builtin`
transformer   checkpoints of the `transformers` library: `families` lists them, `options` parses their options,
              `checkpoint` loads them, `dense` computes features, `windows` slides and scales, `text` encodes phrases
precomputed   feature arrays of any network, one file per frame
pooled        unit vectors of whole images and of phrases
cache         features of a dataset on disk, one file per scene (`shards`)
memoized      features stored during a training
"""

from .base import ImageTeacher, Teacher, TeacherInfo
from .cache import CachedTeacher, plan_cache, write_cache
from .memoized import MemoizingTeacher, memoize_features
from .pooled import image_vectors, text_vectors
from .precomputed import PrecomputedTeacher
from .registry import make_teacher

__all__ = [
    "CachedTeacher",
    "ImageTeacher",
    "MemoizingTeacher",
    "PrecomputedTeacher",
    "Teacher",
    "TeacherInfo",
    "image_vectors",
    "make_teacher",
    "memoize_features",
    "plan_cache",
    "text_vectors",
    "write_cache",
]
