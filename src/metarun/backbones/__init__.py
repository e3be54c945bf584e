"""Networks from an input of a given shape to a feature vector, one a file.

A backbone is a module made as `Backbone(shape, **keys of its YAML file)` that maps (B, *shape) to
(B, features) and says `features`. It knows nothing of the algorithm that uses it.
"""
