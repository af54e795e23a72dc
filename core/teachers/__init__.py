"""Frozen 2D teachers: an image in, a feature map out.

base          what a teacher is, and `make_teacher`
precomputed   arrays of anybody's network, one per frame
builtin       the model that comes with the project
transformer   checkpoints of the `transformers` library: `families` lists them, `dense` gets maps out of them, `windows`
              slides and scales, `text` has their text towers, `options` what may follow a checkpoint's name,
              `checkpoint` what can go wrong
pooled        whole pictures and phrases as unit vectors
cache         a dataset's features on the disk (`shards`), one file per scene; `kept` does it during a training
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
