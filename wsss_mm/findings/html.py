"""A page as one file of HTML that needs nothing beside it, and prints on A4."""

import base64
import io

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from wsss_mm.findings.document import Document, Pixels

_QUALITY = 88


def render_html(document: Document) -> str:
    """The page; all that is filled in is escaped."""
    environment = Environment(
        loader=PackageLoader("wsss_mm.findings", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["embedded"] = _embedded
    environment.filters["rgb"] = lambda color: "rgb({}, {}, {})".format(*color)
    return environment.get_template("page.html").render(document=document)


def _embedded(picture: Pixels) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
