"""Labels for items of the user, from a learner and a few labelled items of each class.

`classifier` and `calibration` compute with prepared arrays. `pictures`, `sentences` and `inputs`
find the items that a user names, `support` and `query` read them, `truth` judges the labels, and
`written` and `page` show them. `of_run` does all of this for a trained run.
"""
