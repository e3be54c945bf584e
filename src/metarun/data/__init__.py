"""Data sets, one a file. Nothing here knows of algorithms.

A data set is a class whose keyword arguments are the keys of its YAML file. Most have three in
common:

- `root`: the folder with its files. Those of an official data set are downloaded from `url` where
  they are missing and may be downloaded; then `root` has to exist, unless it lies beside the cache;
- `cache`: the folder of prepared arrays, which holds a folder for each data set;
- `url`: where the files are downloaded from.

It has two methods:

- `facts()` returns what is known before anything is read or downloaded: for each of `train`, `val`
  and `test` a `metarun.data.classes.Facts`, the number of classes and of items in the smallest
  class, or `None` where that is not known yet or tasks are not made of classes;
- `load()` returns the splits under the same three names; the first call prepares and caches them.

Both raise `metarun.errors.Refused` where the data is missing or broken, or the cache cannot be
written to, and so does whatever they call.

A split has `facts` (`None` where tasks are not made of classes) and is one of two things:

- arrays from which tasks of given sizes are gathered, see `metarun.tasks.gathered.Arrays`: it has
  `pick`, `gather`, `sha256`, `shape` and `objective`. Where numbers are to be predicted, it has
  `outputs` too, the size of a target; `truth(pick, x)` and `domain`, if there, let the curves be
  drawn. `metarun.data.classes.select` makes a split of classes from images or features;
- a `metarun.tasks.sampler.TaskSource`, which builds tasks of any form itself.
"""
