"""The labelling page: patches of slides, answers of several readers, and what to look at next."""
