"""Settings that fit themselves to a cohort: what is clearly better on the validation masks is taken, ties are not."""

from wsss_mm.choosing.choice import Choice, read_choice, write_choice

__all__ = ["Choice", "read_choice", "write_choice"]
