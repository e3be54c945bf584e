"""Pictures of runs and of episodes."""
