"""What a browser draws in the panes of the viewer."""

from collections.abc import Sequence
from typing import Any

from tests.wsi.viewer.marking import WIDTH

_PIXEL = """([pane, x, y]) => {
  const viewer = window.viewers.find((one) => one.element.id === pane);
  const at = viewer.viewport.pixelFromPoint(new OpenSeadragon.Point(x, y), true);
  const drawn = viewer.drawer.canvas.getContext("2d").getImageData(Math.round(at.x), Math.round(at.y), 1, 1).data;
  return [...drawn];
}"""


def place_on(page: Any, pane: str, x: float, y: float) -> list[float]:
    """Where a place of the slide, level-0 px, is on the screen."""
    return page.evaluate(
        """([pane, x, y]) => {
          const viewer = window.viewers.find((one) => one.element.id === pane);
          const at = viewer.viewport.pixelFromPoint(new OpenSeadragon.Point(x, y), true);
          const box = viewer.element.getBoundingClientRect();
          return [box.left + at.x, box.top + at.y];
        }""",
        [pane, x / WIDTH, y / WIDTH],
    )


def pixel(page: Any, pane: str, x: float, y: float) -> list[int]:
    """RGBA that is drawn at a place of the slide, level-0 px."""
    return page.evaluate(_PIXEL, [pane, x / WIDTH, y / WIDTH])


def until_drawn(page: Any, pane: str, at: tuple[float, float], wanted: Sequence[float], within: float = 3) -> None:
    """Wait until this RGBA is drawn at a place of the slide, level-0 px, give or take."""
    page.wait_for_function(
        f"([place, wanted, within]) => ({_PIXEL})(place).every((one, n) => Math.abs(one - wanted[n]) <= within)",
        arg=[[pane, at[0] / WIDTH, at[1] / WIDTH], list(wanted), within],
    )
