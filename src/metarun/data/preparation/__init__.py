"""Source files become arrays on disk; see `cache`.

Whatever is wrong with a file is raised as `metarun.errors.Refused`, in one line that names it: it
cannot be read, is damaged, is not what it should be, or unpacks to more than is plausible.
"""
