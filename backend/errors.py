"""Errors that a caller sees: RFC 9457 `application/problem+json` with a stable code.

AppError
  ├ Invalid       422  the request is understood and cannot be accepted
  ├ Unauthorized  401  nobody is signed in, or not any more
  ├ Forbidden     403  this person may not
  ├ NotFound      404  no such object, or it belongs to somebody else
  ├ Conflict      409  the state of the object does not allow it
  └ Unavailable   503  something that we depend on is away; try again

Every code has its line in docs/errors.md (a test compares them).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "/docs/errors#"
"""Relative to the API (RFC 9457 section 3.1.1): the page of error codes, served by ourselves."""


class AppError(Exception):
    """The root: an HTTP status, a stable code, a title that is the code's own, and a sentence about this occurrence.

    `detail` says what to do. `data` are further members of the problem and must be JSON values.
    """

    def __init__(self, status: int, code: str, title: str, detail: str, **data: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.data = data
        self.headers: dict[str, str] = {}


class Invalid(AppError):
    """422: the request is well formed and its content cannot be accepted."""

    def __init__(self, detail: str, *, code: str = "invalid", title: str = "Invalid request", **data: Any) -> None:
        super().__init__(422, code, title, detail, **data)


class Unauthorized(AppError):
    """401: sign in, or sign in again."""

    def __init__(
        self, detail: str, *, code: str = "sign_in_required", title: str = "Sign in first", **data: Any
    ) -> None:
        super().__init__(401, code, title, detail, **data)
        self.headers["WWW-Authenticate"] = 'Bearer realm="troupe"'


class Forbidden(AppError):
    """403: the person is known and may not do this."""

    def __init__(self, detail: str, *, code: str = "forbidden", title: str = "Not allowed", **data: Any) -> None:
        super().__init__(403, code, title, detail, **data)


class WalletRequired(Forbidden):
    """403 for a visitor: this is done with an address."""

    def __init__(self, *, code: str = "wallet_required") -> None:
        super().__init__(
            "You are here as a visitor, and this needs an address: sign in with a wallet (POST /v1/auth/nonce, then"
            " /v1/auth/verify).",
            code=code,
            title="Sign in with a wallet",
        )


class NotFound(AppError):
    """404: there is no such object for this person; the objects of others are not told from absent ones."""

    def __init__(self, detail: str, *, code: str = "not_found", title: str = "Not found", **data: Any) -> None:
        super().__init__(404, code, title, detail, **data)


class Conflict(AppError):
    """409: the object's present state does not allow this."""

    def __init__(self, detail: str, *, code: str = "conflict", title: str = "Conflict", **data: Any) -> None:
        super().__init__(409, code, title, detail, **data)


class Unavailable(AppError):
    """503: a part that we depend on does not answer; nothing was changed, try again after `retry_after_s`."""

    def __init__(
        self,
        detail: str,
        *,
        code: str = "unavailable",
        title: str = "Temporarily unavailable",
        retry_after_s: int = 2,
        **data: Any,
    ) -> None:
        super().__init__(503, code, title, detail, **data)
        self.headers["Retry-After"] = str(retry_after_s)


class FieldError(BaseModel):
    """One thing that is wrong in a request."""

    location: str = Field(description="body, query, path, header or cookie, then the field", examples=["body.title"])
    message: str = Field(description="What is wrong with it", examples=["Field required"])
    code: str = Field(description="A stable word for it", examples=["missing"])


class Problem(BaseModel):
    """An error answer, by RFC 9457. Further members may stand beside these, as docs/errors.md says for each code."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A link to the description of the code")
    title: str = Field(description="What the code means, the same each time", examples=["Not found"])
    status: int = Field(description="The HTTP status", examples=[404])
    detail: str = Field(description="What happened this time, and what to do")
    code: str = Field(description="Stable, for programs", examples=["not_found"])
    instance: str = Field(description="The path that was asked", examples=["/v1/works/7"])
    request_id: str = Field(description="Also in the header X-Request-ID; name it when you report a problem")
    errors: list[FieldError] | None = Field(None, description="Each field that is wrong, where the request did not fit")


def problem(
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    instance: str,
    request_id: str,
    data: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of an error answer."""
    return {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": instance,
        "request_id": request_id,
        **(data or {}),
    }
