"""Open and load scenes.

open.py      `open_scene`: whatever a command line names
source.py    `SceneState`, `SceneSource` and its implementations
predicted.py states of a network with a teacher, whose wide features are computed when they are read
lifted.py    teacher features lifted onto points; bundled.py: the bundled feature field
timeline.py  earlier steps of a run
geometry.py  extent, spacing, depth range, up direction; nearest.py: search trees
house.py     walls and ceiling of a room, and a view of all of a scene
uploads.py   scenes from files that a browser sends
"""
