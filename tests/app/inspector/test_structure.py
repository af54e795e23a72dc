"""What a change of the view redraws, which panels exist, and that no modules of the inspector import in circles."""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest
from gaussiancross.app import inspector as package
from gaussiancross.app.inspector.effects import EFFECTS, effects_of
from gaussiancross.app.inspector.panels import PANELS
from gaussiancross.app.inspector.panels.base import TABS
from gaussiancross.app.inspector.view_state import ViewModel, ViewState

FOLDER = Path(package.__file__).parent


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"layer"}, {"points", "urgent canvas", "camera"}),
        ({"mix", "at"}, {"points", "urgent canvas", "camera"}),
        ({"scene", "frame"}, {"loading", "points", "views", "frusta"}),
        ({"blend"}, {"canvas"}),
        ({"point_size"}, {"canvas", "point size"}),
        ({"point_size", "point_color"}, {"canvas", "points"}),
        ({"style"}, {"canvas"}),
        ({"frusta"}, {"canvas", "frusta"}),
        ({"errors"}, {"views"}),
        ({"follow"}, set()),
        ({"up"}, {"canvas", "points"}),
        ({"colors"}, {"canvas", "views"}),
        ({"cut"}, {"canvas", "points"}),
        ({"heat"}, {"heat"}),
        ({"keep"}, {"keep"}),
    ],
)
def test_a_change_redraws_what_it_touches(changed, expected):
    assert effects_of(changed, ViewState()) == expected


def test_the_sheet_of_views_is_redrawn_by_every_field():
    sheet = ViewState(layer="Views")
    assert effects_of({"errors"}, sheet) == {"views", "canvas"}
    assert effects_of({"heat"}, sheet) == {"heat"}


def test_a_style_sends_points_again_that_have_the_colours_of_classes():
    assert effects_of({"style"}, ViewState(point_color="Probe")) == {"canvas", "points"}


def test_every_field_of_the_view_has_effects():
    assert set(EFFECTS) == {field.name for field in fields(ViewState)} | {"heat", "keep"}


def test_listeners_hear_of_the_fields_that_differ():
    model, heard = ViewModel(), []
    model.subscribe(heard.append)
    model.change(blend=0.0, at=0.25)
    model.change(at=0.25)
    model.replace(frame=3)
    model.set_keep(None)
    assert heard == [{"at"}] and model.view == replace(ViewState(), at=0.25, frame=3)


def test_panels_are_in_known_tabs_at_places_of_their_own():
    places = [(entry.tab, entry.order) for entry in PANELS.values()]
    assert len(set(places)) == len(places) == 15
    assert {tab for tab, _ in places} == {"", *TABS}


def relative_imports(path: Path) -> set[Path]:
    """Modules of the inspector that a module imports, type-checking imports included."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            modules = [base] if node.module else []
            for target in (*modules, *(base / alias.name for alias in node.names)):
                for file in (target.with_suffix(".py"), target / "__init__.py"):
                    if file.is_file() and FOLDER in file.parents:
                        found.add(file)
    return found


def test_no_modules_import_each_other_in_a_circle():
    graph = {path: relative_imports(path) for path in FOLDER.rglob("*.py")}
    graph[FOLDER / "__init__.py"] = set()  # loads its names when they are used
    while leaves := {path for path, imports in graph.items() if not imports & graph.keys()}:
        graph = {path: imports for path, imports in graph.items() if path not in leaves}
    assert [str(path.relative_to(FOLDER)) for path in graph] == []
