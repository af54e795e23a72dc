"""Training of the bundled 2D teachers.

two_tower          image and text towers on captioned renders (`python -m gaussiancross.trainers.teachers.two_tower`)
captions           captioned renders of procedural rooms and objects, and their batches
caption_scores     evaluation of the towers on held-out renders
captioned_views    augmented views of captioned rooms and objects
token_shards       stored DINOv2 tokens of such views (`python -m gaussiancross.trainers.teachers.token_shards`)
dino_head          the head of `builtin-dino` on these tokens (`python -m gaussiancross.trainers.teachers.dino_head`)
text_bridge        further names of `builtin` (`python -m gaussiancross.trainers.teachers.text_bridge`)
self_distillation  the label-free teacher (`python -m gaussiancross.trainers.teachers.self_distillation`)
"""
