"""Parts become a trained learner: the loop, its state, evaluation, what a person sees."""
