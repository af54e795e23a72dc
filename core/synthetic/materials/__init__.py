"""Materials, procedural textures and the distributions that colours are drawn from.

textures    colour of a surface point, one compiled function per texture
materials   `Material`, `Style`, `MaterialTable`; random colours and materials of rooms
paint       random materials of objects
"""
