"""Which patch to label next, what the candidates look like together, when to stop, and which labels to look at again.

All of it works on arrays that are row-aligned with the table of candidates, on one core and without a network.
"""
