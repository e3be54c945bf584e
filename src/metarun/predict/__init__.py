"""Labels for items of the user, from a learner and a few labelled items of each class.

`classifier` and `calibration` compute with prepared arrays. `pictures` and `sentences` list the
items that a user names, `support` and `query` read them, and `written` and `page` show the result.
`of_run` does all of this for a trained run.
"""
