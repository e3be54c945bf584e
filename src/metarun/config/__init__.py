"""Words become one checked configuration. Hydra is known here and in `sweeps`."""
