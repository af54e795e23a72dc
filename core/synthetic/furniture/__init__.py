"""Furniture and other contents of rooms. Each function makes one `Item` from random numbers and the room's `Style`.

item          `Item`: parts with materials, collision boxes, children, lamps
seats         chairs, stools, sofas, beds, benches
surfaces      tables and desks; `scatter` places objects on them
storage       cabinets, shelves, wardrobes, books
kitchen       base and wall cabinets, worktops, appliances
bath          toilets, sinks, bathtubs, shower curtains
decor         curtains, blinds, pictures, mirrors, whiteboards, towels, rugs, radiators
lamps         table, floor, desk and ceiling lamps
electronics   televisions, monitors, laptops, keyboards, printers
clutter       small objects: plants, tableware, books, boxes, clocks, bins
"""
