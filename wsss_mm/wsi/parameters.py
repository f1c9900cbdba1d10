"""How a slide is segmented: each setting with its default, of which the functions and the command line know no other.

Light to import: the command line shows these defaults before anything is computed.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Weighting = Literal["uniform", "gaussian", "linear"]
WEIGHTINGS: tuple[str, ...] = get_args(Weighting)


@dataclass(frozen=True)
class Parameters:
    """How a slide is segmented; part of its summary.

    Attributes:
        window: side of the sliding window, px at the model's mpp.
        overlap: of neighbouring windows, share of their side, 0 <= overlap < 1.
        weighting: how the pixels of a window count in the average, see `wsss_mm.wsi.stitch.window_profile`.
        background_grey: slide pixels whose grey value exceeds it are background.
        tissue_mask: look for tissue on a thumbnail first, and pass over what is glass there.
        min_hole: um2, smaller holes of background in the tissue are tissue of the class that the network sees there. A
            hole as large as a window stays, whatever the number.
        min_island: um2, smaller regions stay in the map but not in the GeoJSON.
        probabilities: whether the probabilities of the classes are written too.
    """

    window: int = 224
    overlap: float = 0.5
    weighting: Weighting = "linear"
    background_grey: int = 210
    tissue_mask: bool = True
    min_hole: float = 200.0
    min_island: float = 500.0
    probabilities: bool = False
