"""Preparation of source files as arrays on disk; see `cache`.

A file that cannot be read, is damaged, has another format than expected, or unpacks to too much
raises `metarun.errors.Refused`, with one line that names the file.
"""
