"""Data sets, one module each. Nothing here depends on algorithms.

A data set is a class whose keyword arguments are the keys of its YAML file. Most share three:

- `root`: the folder of the source files. Missing files of official data sets are downloaded from
  `url` if that is allowed; `root` must then exist, unless it is the default folder;
- `cache`: the folder of prepared arrays, with one subfolder per data set;
- `url`: where the files are downloaded from.

It has two methods:

- `facts()` returns the facts that need no reading or downloading: for each of `train`, `val` and
  `test` a `metarun.data.classes.Facts`, the number of classes and of items in the smallest class,
  or `None` if these are not known yet or tasks are not made of classes;
- `load()` returns the splits under the same three names; the first call prepares and caches them.
  With the attribute `splits_apart = True`, it takes the names of the splits that are needed, and
  the others may be empty.

A data set that can prepare items of the user, which belong to no split, also has

- `own_items`: `pictures`, `recordings`, `sentences` or `vectors`, the kind of these items;
- `prepare_own(items)`, which returns the prepared array of each item, or a
  `metarun.data.preparation.pixels.Broken` with the reason why it cannot be read. Items are paths of
  pictures, with the optional argument `span` for values of more than 8 bits; paths of recordings,
  with `scale` for their spectrograms; sentences; or rows `FILE.npz[3]`, with `width` for the number
  of features that they should have.

`facts` and `load` raise `metarun.errors.Refused` if the data is missing or damaged, or the cache is
not writable; so do the functions that they call.

A split has `facts` (`None` if tasks are not made of classes) and is one of two things:

- arrays from which tasks of the requested sizes are gathered, see `metarun.tasks.gathered.Arrays`,
  with `pick`, `gather`, `sha256`, `shape` and `objective`. Regression splits also have `outputs`,
  the size of a target; with the optional `truth(pick, x)` and `domain`, curves can be plotted.
  `metarun.data.classes.select` makes a split of classes from images or features;
- a `metarun.tasks.sampler.TaskSource`, which builds tasks of any form itself.
"""
