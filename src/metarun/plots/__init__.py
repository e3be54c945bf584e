"""Plots of learning curves and of episodes."""
