"""metarun: a config-driven runner for few-shot and meta-learning experiments."""

__version__ = "0.1.0"
