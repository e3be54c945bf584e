"""Listings of docs/python.md. `tests/test_interface.py` executes them with a run that is there."""

import metarun

run = metarun.fit("algo=maml", "data=omniglot", shots=5, steps=500)
print(run.result["test"]["accuracy"]["mean"])

run = metarun.fit("algo=maml", {"algo.inner_lr": 0.1, "logger.notes": None}, tags=["mine", "a, b"])

run = metarun.fit(resume="runs/maml", steps=1000)

picture_of_a_cat = "photos/another.jpg"
support = {"cat": [picture_of_a_cat, "photos/cat.jpg"], "dog": ["photos/dog.jpg"]}
prediction = run.predict(support, ["photos/1.jpg", "photos/2.jpg"])
print(prediction.labels, prediction.probabilities.max(axis=1))
