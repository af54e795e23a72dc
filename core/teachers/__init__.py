"""Frozen 2D teachers: an image in, a feature map out."""

from .base import ImageTeacher, Teacher, TeacherInfo, make_teacher
from .precomputed import PrecomputedTeacher

__all__ = ["ImageTeacher", "PrecomputedTeacher", "Teacher", "TeacherInfo", "make_teacher"]
