"""Triangle meshes and solids, in numpy.

mesh     `Mesh`, its transforms, and solids: boxes, lathes, tubes, cloth, prisms
shapes   more solids (lofts, sweeps, extrusions, rings), splines, subdivision
"""
