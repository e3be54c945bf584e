"""Labels for items of the user, from a learner and a few labelled items of each class.

`classifier` and `calibration` compute with prepared arrays. `pictures`, `sentences` and `inputs`
find the items that a user names, `support` and `query` read them, `truth` judges the labels, and
`written` and `page` show them. `labelling` labels prepared items, and writes nothing; `prediction`
does all of this for what a user typed, and writes the folder. What labels is `trained`, a run, or
`untrained`, a network with weights of its own.
"""
