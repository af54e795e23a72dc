"""Maths, data and models. Needs torch and numpy; knows neither optimisers, nor nerfstudio, nor viser.

errors, cameras, scene, gaussians, cuboid, live   the nouns
io/         files: PLY, .splat, Pointcept folders, RGB-D exports, transforms.json
datasets/   rooms (procedural), RGB-D captures, Pointcept folders; `open_dataset`
sparse/     sparse tensors and convolutions: torch (anywhere) and spconv (CUDA)
splat/      rasterize(): reference (torch), numba (CPU), gsplat (CUDA)
nn/         SpUNet, dense 3D U-Net, Gaussian heads; patches of Gaussians and their transformer
teachers/   frozen 2D teachers
models/     GaussianCross, CLIP-GS
"""
