"""Labels: which patches can be labelled, what people said of them, and what is settled."""
