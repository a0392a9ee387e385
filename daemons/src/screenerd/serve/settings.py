"""How the service is configured, and what it refuses to be. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from screenerd.serve.access.address import Proxies
from screenerd.serve.access.hosts import is_loopback


class ExposedError(Exception):
    """The service would listen to strangers and ask nobody who they are."""

    def __init__(self, host: str) -> None:
        """Says how to mend it."""
        super().__init__(
            f"serve.host = {host} can be reached by others, and no token is configured: set "
            "[serve.jwt] (secret or jwks_url, and issuer), or make a key with `screenerd keys "
            "create NAME --scope read`, or listen on 127.0.0.1"
        )


class JwtConfig(BaseModel):
    """Whose tokens are taken: Supabase's, or those of anybody who signs alike."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    secret: SecretStr | None = None
    jwks_url: str | None = None
    issuer: Annotated[str, Field(min_length=1)]
    audience: str = "authenticated"

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if self.secret is None and self.jwks_url is None:
            raise ValueError("give a secret (HS256) or a jwks_url (ES256, RS256)")
        return self


class ServeConfig(BaseModel):
    """REST, WebSocket and the page: where, for whom, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    jwt: JwtConfig | None = None
    keys_file: Path | None = None
    requests_a_minute: Annotated[int, Field(ge=1)] = 100
    handshakes_a_minute: Annotated[int, Field(ge=1)] = 60
    clients: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()

    @field_validator("proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        Proxies(proxies)
        return proxies

    def needs_token(self, *, has_keys: bool) -> bool:
        """Whether callers have to say who they are.

        Raises:
            ExposedError: strangers could call, and nobody could say who they are.
        """
        if self.jwt is not None or has_keys:
            return True
        if not is_loopback(self.host):
            raise ExposedError(self.host)
        return False
