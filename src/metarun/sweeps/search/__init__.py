"""A search over hyper-parameters, by Optuna."""
