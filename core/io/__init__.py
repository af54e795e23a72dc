"""Readers and writers of file formats. Readers raise `core.errors.InputError` for unusable input; none runs a pickle.

arrays        .npy and .npz files                    images        colour images and 16-bit depth images
ply           Gaussian splats and point clouds       ply_table     header and vertex table of PLY files
splat         .splat files                           splat_files/  SPZ, SOG, glTF splats, compressed PLY
formats       table of all formats, reading by it    point_files   points as text, .npy and .npz
pcd           PCL's point clouds                     scans         LAS, LAZ and E57 (extra scans)
mesh_points   points on the surface of a mesh        renders       posed renders of one object
scenesplat    Gaussians as one .npy per attribute    colmap        COLMAP's sparse models
transforms    nerfstudio's transforms.json           frames        image files as posed frames
sens          ScanNet's .sens recordings             lru, cache    caches in memory; the cache folder on disk
checkpoint    weights and training state             pretrained    `from_pretrained`, `save_pretrained`
torch_files   .pth files, tensors only               pickles       pickled arrays, checked before use
archives      zip archives, by their unpacked size   plain_files   no pipes, devices or folders
json_files    JSON of unknown origin                 digests       checksums of files
atomic        atomic writes of files and folders
"""

from .arrays import read_array
from .checkpoint import latest_checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from .formats import read_splats, write_splats
from .images import read_color, read_depth, write_color, write_depth
from .ply import read_gaussians, read_labelled_gaussians, read_points, write_gaussians, write_points
from .splat import read_splat, write_splat
from .splat_files import SplatData
from .transforms import read_transforms

__all__ = [
    "SplatData",
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
    "read_splats",
    "read_transforms",
    "save_checkpoint",
    "write_color",
    "write_depth",
    "write_gaussians",
    "write_points",
    "write_splat",
    "write_splats",
]
