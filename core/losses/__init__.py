"""Losses as functions of tensors, with formula, source and shapes.

gaussiancross  colour, depth, feature and point losses of GaussianCross; weighted sums
points         the point loss of a whole batch, per cell of the backbone's stages
contrastive    PointInfoNCE between two views
segmentation   Lovász-softmax
clipgs         text contrast and image voting of CLIP-GS
"""
