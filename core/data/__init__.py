"""Scenes, objects and batches: types, augmentation, voxelisation, class names.

scene       PointScene, Frame, PosedFrames, SceneDataset
batch       InputConfig, PointBatch, Views, Batch: input of a training step
packed      PackedViews: views in the types of their files until they are on the device
augment     augmentation, masking, voxelisation
view_pairs  pairs of views for the contrastive loss
objects     objects made of Gaussians as network input
classes     class names of the public benchmarks
"""
