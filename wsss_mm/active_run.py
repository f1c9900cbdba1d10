"""The run that what is computed now belongs to: rooms log to it without knowing who opened it, or where it goes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure


class ActiveRun(Protocol):
    """What can be logged; none of it waits for a server."""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers of a step."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Log tags; a later value replaces an earlier one."""

    def text(self, text: str, name: str) -> None:
        """Keep a text as artifact `name`."""

    def figure(self, figure: "Figure", name: str) -> None:
        """Keep a figure as artifact `name`."""

    def image(self, image: "npt.NDArray[np.uint8]", key: str, step: int) -> None:
        """Keep an image (H, W, 3) RGB under its key and step."""

    def file(self, path: Path, folder: str = "") -> None:
        """Keep a copy of a file among the artifacts, in a folder of them."""


RunT = TypeVar("RunT", bound=ActiveRun)
_active: list[ActiveRun] = []


def active_run() -> ActiveRun | None:
    """The innermost open run, None without one."""
    return _active[-1] if _active else None


@contextmanager
def activated(run: RunT) -> Iterator[RunT]:
    """Within the block, this is the active run."""
    _active.append(run)
    try:
        yield run
    finally:
        _active.remove(run)
