"""`python -m metarun`."""

from metarun.cli import entry

entry()
