"""Files in and out. Every reader raises `core.errors.InputError` for what it cannot use; nothing is unpickled.

arrays        .npy                              images        colour and 16-bit depth images
ply           splats and point clouds           ply_table     the PLY container
point_files   points of any of these files, .npz and text
splat         .splat                            frames        image files → posed frames, cached (`lru`)
transforms    nerfstudio transforms.json        checkpoint    weights and training state, written atomically
sens          ScanNet's recordings              pretrained    `from_pretrained`, `save_pretrained`
pickles       arrays in published pickles      foreign       .pth files of others, both read without running them
"""

from .arrays import read_array
from .checkpoint import latest_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from .images import read_color, read_depth, write_color, write_depth
from .ply import read_gaussians, read_labelled_gaussians, read_points, write_gaussians, write_points
from .splat import read_splat, write_splat
from .transforms import read_transforms

__all__ = [
    "latest_checkpoint",
    "list_checkpoints",
    "load_checkpoint",
    "read_array",
    "read_color",
    "read_depth",
    "read_gaussians",
    "read_labelled_gaussians",
    "read_points",
    "read_splat",
    "read_transforms",
    "save_checkpoint",
    "write_color",
    "write_depth",
    "write_gaussians",
    "write_points",
    "write_splat",
]
