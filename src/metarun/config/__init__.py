"""Compose and check the configuration of a run. Only this package and `sweeps` use Hydra."""
