"""What is installed beside the core, by the extras of pyproject.toml, and the line that is said where it is missing.

The core is the losses, CAMs, the slide reader and the segmentation of slides with a network of one's own.
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import NoReturn

EXTRAS = {
    "mmseg": ("mmengine", "mmcv", "mmseg"),
    "line": ("dvc", "flask", "great_expectations", "gto", "mlflow", "psutil", "sklearn", "threadpoolctl", "werkzeug"),
}
"""By extra the modules that it brings and that are imported by name; of other extras tells who asks for them."""
_INSTEAD = {"mmseg": ", or openmmlab's own mmengine, mmcv and mmsegmentation"}


def has_mmengine() -> bool:
    """Whether networks of mmengine's kind can be built here."""
    return find_spec("mmengine") is not None


def missing_extra(error: BaseException) -> str | None:
    """What to install where an import failed for want of an extra; None of any other error."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    module = (error.name or "").partition(".")[0]
    return next((extra_needed(module, extra) for extra, modules in EXTRAS.items() if module in modules), None)


def extra_needed(module: str, extra: str) -> str:
    """The line: what is missing, and how to have it."""
    return f"{module} is not installed; pip install 'wsss-mm[{extra}]'{_INSTEAD.get(extra, '')}"


def without_mmengine(name: str) -> ModuleNotFoundError:
    """What is raised where something is asked for that only mmengine's users have."""
    return ModuleNotFoundError(f"{name} needs mmengine: {extra_needed('mmengine', 'mmseg')}", name="mmengine")


def asks_for_mmengine(room: str) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a room without mmengine: of names in its `__all__` that are not there, what is missing.

    Args:
        room: Name of the package.
    """

    def missing(name: str) -> NoReturn:
        if name in sys.modules[room].__all__:
            raise without_mmengine(f"{room}.{name}")
        raise AttributeError(f"module {room!r} has no attribute {name!r}")

    return missing
