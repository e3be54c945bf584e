"""Tasks: their data structures, sampling, loss and scores, and augmentation."""
