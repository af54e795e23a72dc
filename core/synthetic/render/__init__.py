"""Ray casting against triangles.

trace   `Tracer`: first hits and occlusion, by Embree
solid   `Solid`: base class of objects that are lit, rendered and sampled
"""
