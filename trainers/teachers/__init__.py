"""Training of the bundled 2D teachers.

two_tower          image and text towers on captioned renders (`python -m gaussiancross.trainers.teachers.two_tower`)
captions           captioned renders of procedural rooms and objects, and their batches
caption_scores     evaluation of the towers on held-out renders
self_distillation  the label-free teacher (`python -m gaussiancross.trainers.teachers.self_distillation`)
"""
