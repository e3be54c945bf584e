"""Networks that map inputs to feature vectors, one per module.

A backbone is constructed as `Backbone(shape, **keys of its YAML file)` and maps (B, *shape) to
(B, features). Its attribute `features` is the length of a feature vector.
"""
