"""Pages for operators: what came of the experiments."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from backend.accounts import roles
from backend.accounts.roles import Role
from backend.errors import AppError, Unauthorized
from backend.payouts.reading import address
from backend.personalization.evaluation import experiments
from backend.web import experiments_page
from backend.web.privacy_routes import ReaderDep
from backend.web.routes import Visitor

router = APIRouter(prefix="/operator", include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/experiments")
def experiments_of_the_installation(reader: ReaderDep) -> HTMLResponse:
    """Each experiment: is its split sound, what came of it so far and day by day, and what may be said of that."""
    try:
        if reader.wallet is None:
            raise Unauthorized("Sign in as an operator to see what came of the experiments.")
        roles.require(reader.session, reader.core.settings, reader.wallet, Role.OPERATOR)
    except AppError as error:
        return Visitor(reader.request, None if reader.wallet is None else address(reader.wallet)).trouble(error)
    shown = []
    for each in experiments.load(reader.core.settings.experiments_file):
        history = [
            (at, experiments.results(reader.session, [each], now=at)[0])
            for at in experiments_page.looks(each, reader.now) or [reader.now]
        ]
        shown.append(experiments_page.shown(history, now=reader.now))
    return reader.show("experiments.html", experiments=shown)
