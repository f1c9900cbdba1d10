"""Training values that fit a cohort: tried by successive halving on the validation split, within a time."""
