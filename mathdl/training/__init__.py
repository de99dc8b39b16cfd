"""Training: the trainer, one step, checkpoints, history, callbacks, diagnosis; models and their files."""
