"""A page as one file of HTML that needs nothing beside it, and prints on A4."""

import base64
import io

from PIL import Image

from wsss_mm.findings.document import Document, Pixels
from wsss_mm.pages import environment

_QUALITY = 88


def render_html(document: Document) -> str:
    """The page; all that is filled in is escaped."""
    templates = environment("wsss_mm.findings", ".")
    templates.filters["kind"] = lambda block: type(block).__name__
    templates.filters["embedded"] = _embedded
    templates.filters["rgb"] = lambda color: "rgb({}, {}, {})".format(*color)
    return templates.get_template("page.html").render(document=document)


def _embedded(picture: Pixels) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
