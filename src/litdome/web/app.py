"""The routes of the page. Pictures are asked for by camera and number: no path of a file is ever taken from outside."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from litdome.errors import FrameAbsentError, LitdomeError, UsageError
from litdome.store.provenance import digest
from litdome.web.gate import Gate
from litdome.web.pictures import jpeg, thumb_size, view_picture, views_of
from litdome.web.review import Changes, Review
from litdome.web.thumbnails import Thumbnails

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MAX_BODY_BYTES = 8 << 20
KEPT_A_DAY = {"Cache-Control": "private, max-age=86400"}  # addresses carry the version of the session


def review_app(review: Review, thumbnails: Thumbnails, token: str) -> Gate:
    """The page of a review behind its gate."""
    page = {item.name: item.read_bytes() for item in (files("litdome.web") / "page").iterdir() if item.is_file()}

    def front(request: Request) -> Response:
        return _static(page, "review.html")

    def static(request: Request) -> Response:
        return _static(page, request.path_params["name"])

    def about(request: Request) -> Response:
        return JSONResponse(_about(review, thumbnails))

    def table(request: Request) -> Response:
        return Response(review.table.as_bytes(), media_type="application/octet-stream")

    def state(request: Request) -> Response:
        return Response(np.ascontiguousarray(review.state()).tobytes(), media_type="application/octet-stream")

    def progress(request: Request) -> Response:
        made = {"done": thumbnails.done, "total": thumbnails.total, "trouble": thumbnails.trouble}
        return JSONResponse({"thumbnails": made})

    def history(request: Request) -> Response:
        camera, pair = _place(review, request)
        return JSONResponse({"decisions": [asdict(decision) for decision in review.history(camera, pair)]})

    def thumb(request: Request) -> Response:
        return Response(thumbnails.get(*_place(review, request)), media_type="image/jpeg", headers=KEPT_A_DAY)

    def picture(request: Request) -> Response:
        camera, pair = _place(review, request)
        whole = request.query_params.get("whole") == "1"
        made = view_picture(review.session, camera, pair, request.path_params["view"], whole=whole)
        return Response(jpeg(made, 92), media_type="image/jpeg", headers=KEPT_A_DAY)

    async def decide(request: Request) -> Response:
        changes = Changes.model_validate_json(await _body(request))
        return JSONResponse({"recorded": await run_in_threadpool(review.decide, changes)})

    routes = [
        Route("/", front),
        Route("/page/{name}", static),
        Route("/api/session", about),
        Route("/api/table", table),
        Route("/api/state", state),
        Route("/api/progress", progress),
        Route("/api/history/{camera}/{pair:int}", history),
        Route("/api/decide", decide, methods=["POST"]),
        Route("/thumb/{camera}/{pair:int}", thumb),
        Route("/picture/{view}/{camera}/{pair:int}", picture),
    ]
    handlers: dict[Any, Any] = {LitdomeError: _in_words, ValidationError: _invalid}
    app = Starlette(routes=routes, exception_handlers=handlers)
    return Gate(app, token, f"litdome-review-{digest(review.session.url)[:12]}")


def _about(review: Review, thumbnails: Thumbnails) -> dict[str, Any]:
    session, table = review.session, review.table
    cameras = [
        {"id": id, "size": session.size(id), "thumb": thumb_size(session.size(id)), "role": role}
        for id, role in zip(session.cameras, session.array("rig/size").attrs["roles"], strict=True)  # type: ignore
        if id in review.cameras
    ]
    return {
        "name": str(session.attrs.get("name", "")),
        "id": digest(session.url)[:12],
        "version": digest([thumbnails.version, [record.fingerprint for record in session.records()]])[:12],
        "url": session.url,
        "author": review.author,
        "cameras": sorted(cameras, key=lambda camera: review.cameras.index(str(camera["id"]))),
        "pairs": table.pairs,
        "scores": [asdict(score) for score in table.scores],
        "regions": table.regions,
        "reasons": table.reasons,
        "hdris": session.hdri_names,
        "views": views_of(session),
    }


def _static(page: dict[str, bytes], name: str) -> Response:
    if name not in page:
        raise HTTPException(404)
    return Response(page[name], media_type=TYPES[name[name.rindex(".") :]])


def _place(review: Review, request: Request) -> tuple[str, int]:
    camera, pair = request.path_params["camera"], request.path_params["pair"]
    if camera not in review.cameras or pair >= review.table.pairs:
        raise HTTPException(404, f"no pair {pair} of {camera}")
    return camera, pair


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise UsageError("decisions come as application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise UsageError(f"more than {MAX_BODY_BYTES:,} bytes of decisions at once")
    return body


def _in_words(request: Request, error: LitdomeError) -> Response:
    status = 404 if isinstance(error, FrameAbsentError) else 400 if isinstance(error, UsageError) else 500
    return JSONResponse({"error": {"code": error.code, "message": error.message, "hint": error.hint}}, status)


def _invalid(request: Request, error: ValidationError) -> Response:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": {"code": "usage", "message": f"{where}: {first['msg']}", "hint": None}}, 400)
