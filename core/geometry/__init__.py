"""Geometry: cameras, Gaussians, lattices, voxels, normals.

cameras    Cameras and conventions of all frames
gaussians  Gaussians, quaternions, similarity transforms
lattice    CuboidLattice: anchors, scattering, trilinear sampling
voxels     averages over voxels
normals    normals of meshes and points
"""
