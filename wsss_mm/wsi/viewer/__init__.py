"""Results as pages: an overview that any browser opens, and a viewer of slides and maps on loopback."""

from wsss_mm.wsi.viewer.overview import write_overview
from wsss_mm.wsi.viewer.server import make_app

__all__ = ["make_app", "write_overview"]
