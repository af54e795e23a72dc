"""Command line, viewer and everything between a model and its user.

scenes/     open and load scenes
render/     draw layers and sheets; needs scenes
query/      search scenes and write results; needs render
export/     pictures, videos, splats, offline pages; needs render
objects/    classify and retrieve single objects; needs render
inspector/  the viewer in the browser
doctor/     checks of the installation
commands/   one module per command
"""
