"""Infrastructure that all trainings share.

loop        `Trainer`: steps, checkpoints, exact resume, evaluation, signals, time limit, memory and NaN handling
backward    gradients of a batch in parts            prefetch    batches prepared in threads
schedule    learning rates as functions of the step, warm-up of batch-norm statistics
log         scalars to ``metrics.jsonl`` and TensorBoard         progress    progress bar
live        `LiveFeed`: connects a running training with viewers
interrupt   Ctrl-C, SIGTERM and SIGHUP               ranks, sync_norm    processes that train one model
memory      peak memory                              run_lock    one training per run folder
optimizer   AdamW, fused on CUDA                     train_schedule  when a training saves and ends
safety      damaged checkpoints, weights that are not finite
"""
