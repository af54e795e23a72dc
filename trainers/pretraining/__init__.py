"""GaussianCross pre-training.

trainer        `Pretrainer`: one step, evaluation, checkpoints, time limits
config         options (light to import)          presets    full, tiny, field
adapt          fits options to a capture and to a time budget
data           training batches and held-out views
feed           workers that prepare batches, and copies ahead on CUDA
cuda           formats and switches on CUDA
runs           find and load runs, checkpoints and saved models
evaluation     metrics on held-out views           pictures   renders beside targets as PNG
online_probe   linear probe trained beside the run
timeline       weights of many steps, for the viewer
contrastive_baseline   PointContrast-style pre-training on points alone
"""
