"""An application with two mistakes and one right route, for the fuzzing to tell apart."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel


class Answer(BaseModel):
    number: int


def create_app() -> FastAPI:
    """`/breaks` fails for large numbers, `/lies` does not answer what its schema says."""
    app = FastAPI()

    @app.get("/breaks/{number}")
    def breaks(number: int) -> Answer:
        return Answer(number=10**9 // int(abs(number) < 1000))

    @app.get("/lies", response_model=Answer)
    def lies() -> JSONResponse:
        return JSONResponse({"number": "seven"})

    @app.get("/right")
    def right(number: int = 1) -> Answer:
        return Answer(number=number)

    return app
