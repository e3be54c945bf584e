"""Data sets, one a file. Nothing here knows of algorithms.

A data set is a class whose keyword arguments are the keys of its YAML file, with

- `facts()`: what can be said before anything is read or downloaded: for each split the number of
  classes and of items in its smallest class, or `None` where that is not known yet;
- `load()`: the splits `train`, `val` and `test`, prepared on the first call and cached.

A split says `facts`, `shape` (of one item) and `sha256`, and draws episodes
(`metarun.tasks.sampler.Tasks`). Where tasks have numbers to be predicted instead of classes, its
are `None` and `outputs` is the size of a target; `truth(pick, x)` and `domain`, if it has them, let
the curves be drawn.

Both raise `metarun.errors.Refused` where the data is missing or broken.
"""
