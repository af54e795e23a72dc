"""Training programs. They build on `core` and know neither the command line nor the viewer.

engine            the training loop, checkpoints, logs, learning rates and the live feed
pretraining       GaussianCross pre-training, its presets, evaluation, time line and the contrastive baseline
downstream        linear probing, fine-tuning and instance segmentation
teachers          the bundled 2D teachers: two towers (image/text) and self-distillation (label-free)
gaussian_fitting  Gaussians optimised against pictures: those of objects (clipgs) and of scenes
clipgs            CLIP-GS on single objects, and the preparation of such objects
ns                the nerfstudio method (needs nerfstudio)
"""
