"""Makers of objects, by subject: each takes random numbers and returns parts (meshes with materials).

furniture    categories that rooms have, from `core.synthetic.furniture`
animals, buildings, craft, food, gadgets, leisure, outdoors, plants, tableware, tools, toys, vehicles, wear
             all others; each module ends with a table of category, maker and synonyms
"""
