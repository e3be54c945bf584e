"""Source files become arrays on disk; see `cache`."""
