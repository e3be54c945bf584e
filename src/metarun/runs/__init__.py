"""A run's folder: its configuration, checkpoints, metrics, result and lock."""
