"""CLIP-GS training on triplets of Gaussians, renders and captions.

trainer          training, evaluation, loading of runs
config, data     options and presets; batches as a function of the step
prepare_object   one object file → renders, Gaussians, preview
"""
