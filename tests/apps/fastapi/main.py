"""The smallest FastAPI application: started by uvicorn through a Procfile that names $PORT."""

from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

VERSION = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()

app = FastAPI()


@app.get("/")
@app.get("/version")
async def version() -> dict[str, str]:
    return {"application": "fastapi", "version": VERSION}


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.middleware("http")
async def stamp(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["X-App-Version"] = VERSION
    return response
