"""Patches that somebody marked in the viewer: they come before all others of a queue, until somebody has answered."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from wsss_mm.web.label.desk import Desk
    from wsss_mm.web.label.session import Session


def marked_rows(session: "Session", desk: "Desk", places: npt.NDArray[np.bool_]) -> list[int]:
    """Rows of marked patches, in the order in which they were marked.

    Args:
        session: knows the journals of all readers.
        desk: whose queue it is: what this reader passed over comes no more.
        places: (N,) whether a patch is wanted at all.
    """
    wanted = (session.table.row_of(place._asdict()) for place in session.journals().marks(desk.reader))
    return [row for row in wanted if row is not None and places[row]]
