"""Procedural rooms and objects: training and test data made from a seed, without downloads.

geometry/    triangle meshes and solids
materials/   materials, procedural textures, colour distributions
furniture/   items with labels, materials and collision boxes
render/      ray casting (Embree); the base class of anything that rays are cast against
rooms/       furnished, lit and captioned rooms; camera walks, pictures, point clouds
objects/     single objects of 130 categories; light, pictures, points, Gaussians, captions

The output is frozen, see README.md. Data sets made of it are in `core.datasets`; nothing here imports them.
"""
