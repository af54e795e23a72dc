"""Draw scenes as pictures.

catalog.py     names, groups and kinds of the layers
options.py     `RenderOptions`, `Canvas`, `LayerImage`
layer_data.py  `LayerData`: loaded scenes and the data that layers are painted from
painters/      one function per layer
renderer.py    `Renderer`: one layer, two that share the canvas, or a sheet
compare.py     two runs or steps side by side
colors.py, feature_colors.py, umap_colors.py, classes.py, scores.py  colours of values, features and classes
clouds.py, views.py           points; recorded pictures
draw.py                       text, legends and tables of pictures
sheets.py, evaluation_sheet.py, contact_sheet.py, thumbnails.py  sheets
"""
