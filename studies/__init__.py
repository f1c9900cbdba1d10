"""Scripts that measure what each element of the method is worth; docs/results.md is made of their tables."""
