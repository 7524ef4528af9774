"""REST over the standard library: the API of one tenant, as any program of its operator would use it."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

API = "/api/v1/"
MAX_RATE_WAITS = 3
MAX_RATE_WAIT_SECONDS = 60


class Unreachable(Exception):
    """No HTTP answer: refused, cut, timed out, or a TLS failure; the text is one sentence."""


class RestRefused(Exception):
    """An answer that is not 2xx; `code` and `detail` are those of the problem document, if it is one."""

    def __init__(self, method: str, path: str, status: int, code: str, detail: str) -> None:
        super().__init__(f"{method} {path} was answered with {status} {code}: {detail}".replace(" :", ":"))
        self.status = status
        self.code = code
        self.detail = detail


class RestClient:
    """Blocking requests to one deployment; safe to use from several threads, each request has its own connection.

    `url` is that of the deployment, http or https, with a path if it is served below one. `timeout_seconds` is for an
    answer, beyond what the request itself asks the server to wait.
    """

    def __init__(
        self, url: str, api_key: str, *, timeout_seconds: float = 10, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._prefix = parts.path.rstrip("/")
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._ssl_context = ssl_context

    def request(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """The JSON of the answer (None if it has none) to a request below /api/v1/; `params` go into the query.

        Errors: RestRefused, Unreachable. A 429 is waited for as the server asks, a few times.
        """
        target = f"{self._prefix}{API}{path}" + (f"?{urlencode(params)}" if params else "")
        headers = {"Accept": "application/json", "Authorization": f"Api-Key {self._api_key}"}
        timeout_seconds = self._timeout_seconds + float(params.get("wait", 0))
        for _ in range(MAX_RATE_WAITS):
            status, answer_headers, content = self._exchange(method, target, headers, body, timeout_seconds)
            if status != 429:
                break
            asked = answer_headers.get("Retry-After", "1")
            time.sleep(min(int(asked) if asked.isdigit() else 1, MAX_RATE_WAIT_SECONDS))
        answer = _json(content)
        if 200 <= status < 300:
            return answer
        problem = answer if isinstance(answer, dict) else {}
        raise RestRefused(method, path, status, str(problem.get("code", "")), _detail(problem))

    def document(self, path: str, accept: str = "application/json") -> Any:
        """The JSON at a path of the deployment outside the API, without the key; None unless it is there and is JSON.

        Errors: Unreachable.
        """
        headers = {"Accept": accept}
        status, _, content = self._exchange("GET", f"{self._prefix}{path}", headers, None, self._timeout_seconds)
        return _json(content) if status == 200 else None

    def _exchange(
        self, method: str, target: str, headers: dict[str, str], body: Any, timeout_seconds: float
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = self._connection(timeout_seconds)
        data = None
        if body is not None:
            data, headers = json.dumps(body).encode(), headers | {"Content-Type": "application/json"}
        try:
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        except TimeoutError:
            raise Unreachable(
                f"{self._host} did not answer {method} {target} within {timeout_seconds:g} seconds."
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self._host}:{connection.port} cannot be reached: {_reason(error)}.") from None
        finally:
            connection.close()

    def _connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_seconds, context=self._ssl_context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_seconds)


def _reason(error: Exception) -> str:
    text = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
    return (text or type(error).__name__).rstrip(".")


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _detail(problem: dict[str, Any]) -> str:
    """`detail` of a problem document, with the first of its `errors`."""
    detail = str(problem.get("detail", "no problem document")).rstrip(".")
    errors = problem.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        detail += f" ({errors[0].get('pointer', '')}: {errors[0].get('detail', '')})"
    return detail
