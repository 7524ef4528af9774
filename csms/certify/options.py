"""What a run is told: where, as whom, how patient."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from csms.certify.authority import ClientIdentity
from csms.certify.charge_point import Endpoint
from csms.certify.failure import UsageError

UNSECURED, BASIC_AUTHENTICATION, TLS_BASIC_AUTHENTICATION, TLS_CLIENT_CERTIFICATE = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Options:
    """One run. `url` is that of the deployment (http or https), `ocpp_url` where its charge points connect, without
    the identity; empty means `url` with /ocpp/TENANT/. `tls_url` and `mtls_url` are where those of security profiles 2
    and 3 connect; empty means nowhere else. Times in seconds."""

    url: str
    tenant: str
    api_key: str = field(repr=False)
    ocpp_url: str = ""
    timeout_seconds: float = 10.0
    # How long the wire must stay silent at the end of a case, after everything was answered.
    settle_seconds: float = 0.5
    # How long the operator may have to wait until what was answered shows in REST.
    sight_seconds: float = 5.0
    # Of the cases that are about no profile. None: 1 for ws, 2 for wss.
    security_profile: int | None = None
    connectors: int = 2
    ca_file: str = ""
    insecure: bool = False
    tls_url: str = ""
    mtls_url: str = ""

    def check(self) -> None:
        """Errors: UsageError with a sentence."""
        given: list[tuple[str, str, tuple[str, ...]]] = [
            ("--url", self.url, ("http", "https")),
            ("--ocpp-url", self.wire_url, ("ws", "wss")),
        ]
        given += [("--tls-url", self.tls_url, ("wss",))] if self.tls_url else []
        given += [("--mtls-url", self.mtls_url, ("wss",))] if self.mtls_url else []
        for name, url, schemes in given:
            try:
                parts = urlsplit(url)
                usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
            except ValueError:
                usable = False
            if not usable:
                forms = f"{schemes[0]}://HOST:PORT or {schemes[-1]}://HOST"
                raise UsageError(f"{name} must look like {forms}, not {url!r}.")
        if any(urlsplit(url).username is not None for _, url, _ in given):
            raise UsageError("A URL with a user name or password is not taken, for it would be shown in the reports.")
        if not self.tenant:
            raise UsageError("--tenant is missing: the slug of the tenant, as in the URL of its charge points.")
        if not self.api_key:
            raise UsageError("There is no API key: set CSMS_CERTIFY_API_KEY, or give --api-key.")
        if not self.api_key.isascii() or not self.api_key.isprintable():
            raise UsageError("The API key holds characters that no API key has.")
        if self.timeout_seconds <= 0 or self.settle_seconds < 0:
            raise UsageError("--timeout must be above 0 seconds, and --settle not below.")
        if self.connectors < 1:
            raise UsageError("--connectors must be at least 1.")
        if self.profile == TLS_CLIENT_CERTIFICATE and not self.mtls_url:
            raise UsageError("Security profile 3 needs --mtls-url wss://….")
        if self.profile not in self.urls:
            raise UsageError("Security profiles 2 and 3 need an https:// URL, --ocpp-url wss://… or --tls-url wss://….")

    @property
    def wire_url(self) -> str:
        if self.ocpp_url:
            return self.ocpp_url
        scheme, _, rest = self.url.partition("://")
        return f"{'wss' if scheme == 'https' else 'ws'}://{rest.rstrip('/')}/ocpp/{self.tenant}/"

    @property
    def encrypted(self) -> bool:
        return self.wire_url.startswith("wss:")

    @property
    def profile(self) -> int:
        if self.security_profile is not None:
            return self.security_profile
        return TLS_BASIC_AUTHENTICATION if self.encrypted else BASIC_AUTHENTICATION

    @property
    def urls(self) -> dict[int, str]:
        """Where charge points of each security profile connect, for every profile that the run covers."""
        urls = {}
        if not self.encrypted:
            urls = dict.fromkeys((UNSECURED, BASIC_AUTHENTICATION), self.wire_url)
        elif self.profile in (UNSECURED, BASIC_AUTHENTICATION):
            # TLS ends in front of a deployment that does not see it.
            urls = {self.profile: self.wire_url}
        else:
            urls = {TLS_BASIC_AUTHENTICATION: self.wire_url}
        if self.tls_url:
            urls[TLS_BASIC_AUTHENTICATION] = self.tls_url
        if self.mtls_url:
            urls[TLS_CLIENT_CERTIFICATE] = self.mtls_url
        return urls

    def endpoint(self, profile: int, client: ClientIdentity | None = None) -> Endpoint:
        """Where a charge point of `profile` connects; `client` is what it shows in TLS.

        Errors: UsageError for an unreadable CA file, KeyError for a profile that the run does not cover.
        """
        url = self.urls[profile]
        return Endpoint(url, self.ssl_context(client) if url.startswith("wss:") else None)

    def ssl_context(self, client: ClientIdentity | None = None) -> ssl.SSLContext:
        """What a charge point or program trusts, and shows. Errors: UsageError for an unreadable CA file."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except OSError as error:
            raise UsageError(f"--ca {self.ca_file} cannot be read: {error.strerror or error}.") from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if client is not None:
            client.load_into(context)
        return context
