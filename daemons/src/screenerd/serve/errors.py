"""What a caller is told when a request cannot be answered. Pure."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import ValidationError


class ApiError(Exception):
    """An answer that is an error: a status, a code for programs, a text for people."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Takes what is told."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.field, self.headers = field, headers or {}

    @property
    def value(self) -> dict[str, str]:
        """The body."""
        told = {"error": self.code, "message": self.message}
        return told if self.field is None else told | {"field": self.field}


def not_found(what: str, name: str, remedy: str, *, field: str | None = None) -> ApiError:
    """There is no such thing."""
    return ApiError(404, "not_found", f"no {what} {name!r}: {remedy}", field=field)


def limited(seconds: float) -> ApiError:
    """The caller asks too often."""
    wait = max(1, -int(-seconds // 1))
    told = f"too many requests: again in {wait} s"
    return ApiError(429, "rate_limited", told, headers={"Retry-After": str(wait)})


def invalid(error: ValidationError, where: str) -> ApiError:
    """The first thing that is wrong with what was sent."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or where
    told = first["msg"]
    if first["type"] == "extra_forbidden":
        told = "no such parameter"
    return ApiError(422, "invalid", f"{where} {field}: {told}", field=field)


def of_status(status: int) -> ApiError:
    """An error that has no more to say than its status."""
    phrase = HTTPStatus(status).phrase
    return ApiError(status, phrase.lower().replace(" ", "_"), phrase)
