"""The dashboard: its pages and what they load. They are for everybody: there is nothing in them."""

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from service import dashboard
from service.compression import accepts_gzip
from service.errors import not_found

router = APIRouter(include_in_schema=False)

# Own scripts, own style, own images; nothing in the page itself is executed.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


def _shows(path: str) -> Callable[[], HTMLResponse]:
    def show() -> HTMLResponse:
        return HTMLResponse(dashboard.page(path), headers=_PAGE)

    return show


for _path, (_name, _title) in dashboard.PAGES.items():
    router.add_api_route(_path, _shows(_path), methods=["GET"], name=f"page_{_name}")


@router.get("/static/{digest}/{path:path}")
def load_asset(digest: str, path: str, request: Request) -> Response:
    """A file by its name, which is looked up; of another version it is no more there."""
    asset = dashboard.assets().get(path)
    if asset is None or digest != dashboard.digest():
        raise not_found("file of the dashboard", path[:100])
    if not accepts_gzip(request.headers.getlist("accept-encoding")):
        return Response(asset.content, media_type=asset.media_type, headers=_FOR_EVER)
    headers = {**_FOR_EVER, "Content-Encoding": "gzip"}
    return Response(asset.gzipped, media_type=asset.media_type, headers=headers)
