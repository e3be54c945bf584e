"""Training: the objects of a run, the outer loop, its state, evaluation and progress display."""
