"""Single objects.

files           object files of a folder, with captions, classes and splits
meshes/         mesh files → lit objects
triplets        objects with embeddings of their captions and renders, the training data of CLIP-GS
embeddings      computes these embeddings
point_clouds    triplets with point clouds instead of Gaussians
published       ModelNet40, Objaverse-LVIS, ScanObjectNN and ShapeSplats; few-shot folds
"""

from .embeddings import embed_triplets
from .files import ObjectFile, find_object_files
from .published import ObjectSet, open_object_set, read_fold
from .triplets import TripletObject, Triplets, write_triplets

__all__ = [
    "ObjectFile",
    "ObjectSet",
    "TripletObject",
    "Triplets",
    "embed_triplets",
    "find_object_files",
    "open_object_set",
    "read_fold",
    "write_triplets",
]
