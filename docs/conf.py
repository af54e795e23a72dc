"""Sphinx configuration; `make docs` builds the guide into ``docs/_build/html``."""

from importlib.metadata import version as installed_version

project = "GaussianCross"
author = "The GaussianCross contributors"
copyright = f"2026, {author}"
version = release = installed_version("gaussiancross")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 3
"""Levels of headings that links such as ``data.md#scannet`` may point to."""

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_use_ivar = True
default_role = "code"
"""Single backticks in docstrings are code, as in Markdown."""

html_theme = "furo"
html_title = f"GaussianCross {version}"
