"""The files that pages name."""

from fastapi import APIRouter, Request, Response

from dashboards.web import assets, digest

router = APIRouter()
YEAR = 365 * 24 * 3600


@router.get("/static/{version}/{name}")
async def asset(request: Request, version: str, name: str) -> Response:
    """For good under the present version; under any other, which an old page may name, as it is now. From memory: a
    thread of its own would take longer than the answer."""
    own = assets().get(name)
    if own is None:
        return Response(status_code=404)
    forever = f"public, max-age={YEAR}, immutable" if version == digest() else "no-cache"
    headers = {"Cache-Control": forever, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return Response(own.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=own.kind)
    return Response(own.content, headers=headers, media_type=own.kind)


@router.get("/favicon.ico")
async def icon(request: Request) -> Response:
    return await asset(request, digest(), "icon.svg")
