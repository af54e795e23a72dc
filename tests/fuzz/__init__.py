"""Fuzzing of every reader of files.

corpus      the table of readers: a small good file each, and what reads it; its rows are in the ``_rows`` modules
mutations   damage to bytes, text, JSON and counts in headers
judge       what a reader may do with a damaged file
"""
