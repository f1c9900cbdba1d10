"""Scripts that measure what each element of the method is worth; docs/results.md is made of their tables."""

import pipelines  # noqa: F401  tells OpenMP not to spin, before torch is imported
