"""Convert raw downloads to the layouts that `core.datasets.scenes` reads.

scannet              ScanNet: meshes, labels and `.sens` recordings
scannet_benchmark    its splits and classes
s3dis                S3DIS: annotated rooms
tasks                resumable tasks in several processes that write one folder each
"""

from .tasks import Outcome, Task, run_tasks

__all__ = ["Outcome", "Task", "run_tasks"]
