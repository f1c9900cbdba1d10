"""A lab's project, begun from the installed package and brought up to date when a newer one is installed."""
