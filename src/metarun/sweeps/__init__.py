"""Sweeps and searches: many runs from one command."""
