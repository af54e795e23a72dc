"""Real scenes as `core.data.scene.SceneDataset`.

capture       captures in any of these layouts, with points fused from depth
rgbd          posed frames in ScanNet's export layout
layouts       COLMAP, TUM RGB-D, 7-Scenes, Polycam, Open3D
published_layouts    ScanNet++, ARKitScenes, Matterport3D, Replica, Stray Scanner
listed        posed frames from lists of files, poses and lenses
splat_depth   depth rendered from trained splats
fuse          posed RGB-D frames → point cloud
pose_check    error for captures whose camera poses disagree with depth
pointcept     ScanNet, ScanNet200 and S3DIS as preprocessed by Pointcept
splits        data-efficient splits: few scenes, or few labelled points per scene
"""

from .capture import Capture, find_captures
from .fuse import fuse_points
from .layouts import LAYOUTS
from .pointcept import PointceptDataset, read_pointcept_scene
from .pose_check import check_poses
from .rgbd import read_rgbd_export

__all__ = [
    "LAYOUTS",
    "Capture",
    "PointceptDataset",
    "check_poses",
    "find_captures",
    "fuse_points",
    "read_pointcept_scene",
    "read_rgbd_export",
]
