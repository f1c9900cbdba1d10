"""Great Expectations with what gates use of it, which takes half the time to import: tables of pandas, no pictures.

By itself it imports SciPy's statistics, and Altair, which one of its expectations draws with, and looks for databases
and clouds that it could read from. The first two are imported here when it asks for something in them; the others,
without which it works as well, it does not find. Whoever else imports any of them gets them as ever.
"""

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

_LATER = ("altair", "scipy.stats")
_WITHOUT = ("boto3", "google", "psycopg2", "pyspark", "snowflake", "sqlalchemy", "trino")


@cache
def great_expectations() -> Any:
    """The library, which reports nothing of its use to its makers. No other thread may import meanwhile."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with _little_else():
        import great_expectations as gx

    return gx


@contextmanager
def _little_else() -> Iterator[None]:
    """Keeps out, of what is imported within, the modules that are needed later or not at all; those there are stay.

    Nor is garbage looked for: next to all that is made stays, and to look through it takes a sixth of the time.
    """
    collects = gc.isenabled()
    gc.disable()
    instead = {name: _Asking(name) for name in _LATER} | dict.fromkeys(_WITHOUT)
    instead = {name: module for name, module in instead.items() if name not in sys.modules}
    sys.modules.update(instead)  # ty: ignore[no-matching-overload]  None: is not found, as Python's manual has it
    try:
        yield
    finally:
        if collects:
            gc.enable()
        for name in instead:
            _let_in(name, instead[name])


class _Asking(ModuleType):
    """Stands for a module until something in it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # who walks through all modules asks for nothing
            raise AttributeError(name)
        _let_in(self.__name__, self)
        return getattr(importlib.import_module(self.__name__), name)


def _let_in(name: str, instead: ModuleType | None) -> None:
    if name in sys.modules and sys.modules[name] is instead:
        del sys.modules[name]
