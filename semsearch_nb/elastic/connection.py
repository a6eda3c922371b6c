"""A client for a server that answers, with errors that say what to do where none does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from elasticsearch import (
    ApiError,
    AuthenticationException,
    AuthorizationException,
    Elasticsearch,
    NotFoundError,
    SSLError,
    TransportError,
    UnsupportedProductError,
)

DEFAULT_URL = "http://127.0.0.1:9200"
VERSION = "8.19.7"
DOCKER = (
    "docker run --rm -p 127.0.0.1:9200:9200 -e discovery.type=single-node -e xpack.security.enabled=false "
    f"docker.elastic.co/elasticsearch/elasticsearch:{VERSION}"
)
GONE = "the server has no index or alias {!r}; make it with create_index"


class ElasticError(RuntimeError):
    """The server does not answer, refuses, or holds something else than was expected."""


class NoAnswerError(ElasticError):
    """The server has answered before and does not now."""


def connect(
    url: str | None = None,
    *,
    api_key: str | None = None,
    user: str | None = None,
    password: str | None = None,
    ca_file: str | Path | None = None,
    timeout: float = 60,
) -> Elasticsearch:
    """The official client, for a server that has answered.

    What is not given comes from the environment: `SEMSEARCH_ELASTICSEARCH_URL` (else port 9200 of this computer;
    several nodes of one cluster are separated by commas), `…_API_KEY`, or `…_USER` and `…_PASSWORD`, and `…_CA_FILE`
    for certificates that no public authority has signed. A request that a node does not answer within `timeout`
    seconds goes to the next one.

    Raises:
        ValueError: a URL or credentials that are not so, or a CA file that is missing.
        ElasticError: nothing answers, the certificate or the credentials are refused, or the server is
            no Elasticsearch 8 or 9.
    """
    urls = [_checked_url(part) for part in (url or _variable("URL") or DEFAULT_URL).split(",")]
    if api_key is None and user is None and password is None:
        api_key, user, password = _variable("API_KEY"), _variable("USER"), _variable("PASSWORD")
    if api_key and (user or password):
        raise ValueError("api_key and user are both given; pass the API key or user and password, not both")
    if bool(user) != bool(password):
        raise ValueError(f"{'password' if user else 'user'} is missing; pass user and password together")
    if not f"{user}{password}".isascii():
        raise ValueError("user and password must be ASCII, as the official client sends nothing else; use an API key")
    options: dict[str, Any] = {"api_key": api_key} if api_key else {}
    if user and password:
        options["basic_auth"] = (user, password)
    if ca := ca_file or _variable("CA_FILE"):
        if not Path(ca).is_file():
            raise ValueError(f"ca_file must be a file with certificates (PEM), and there is none at {str(ca)!r}")
        options["ca_certs"] = str(ca)
    client = Elasticsearch(urls, request_timeout=timeout, retry_on_timeout=True, max_retries=3, **options)
    try:
        _greet(client, ", ".join(urls))
    except BaseException:
        client.close()
        raise
    return client


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Errors of the client about the index `name` as an `ElasticError` that says what to do."""
    try:
        yield
    except NotFoundError:
        raise ElasticError(GONE.format(name)) from None
    except (AuthenticationException, AuthorizationException) as error:
        raise ElasticError(f"the server does not allow this with {name!r}: {error}; use other credentials") from None
    except ApiError as error:
        if may_pass(error.status_code):
            raise NoAnswerError(f"the server cannot do this with {name!r} now: {error}; repeat it later") from None
        raise ElasticError(f"the server refuses this with {name!r}: {error}") from None
    except TransportError as error:
        raise NoAnswerError(f"the server has stopped answering ({error.message}); start it again and repeat") from None


def may_pass(status: int) -> bool:
    """Whether an HTTP status says that the server is busy or stumbles, so that trying again makes sense."""
    return status == 429 or status >= 500


def _greet(client: Elasticsearch, urls: str) -> None:
    """Ask for the health of the cluster, as the smallest thing that needs a server and its consent."""
    try:
        client.options(request_timeout=10).cluster.health()
    except AuthorizationException:
        return  # the credentials are right, and their owner may not look at the cluster as a whole
    except AuthenticationException:
        reason = "refuses the credentials; pass others or set SEMSEARCH_ELASTICSEARCH_API_KEY, or …_USER and …_PASSWORD"
    except UnsupportedProductError:
        reason = "answers, but is no Elasticsearch of version 8 or 9; check the address"
    except SSLError as error:
        reason = f"has a certificate that is not trusted ({error.message}); pass its authority's file as ca_file"
    except ApiError as error:
        reason = f"answers with an error: {error}; read the server's log"
        if "media_type" in str(error) or error.status_code == 406:
            reason = f"is of another major version than 8 or 9, which this client speaks to; start a server: {DOCKER}"
    except TransportError as error:
        reason = (
            f"does not answer: {error.message}; check the address{' (https://?)' if 'http://' in urls else ''}, set "
            f"SEMSEARCH_ELASTICSEARCH_URL, or start a server with elastic.local_server() or with Docker: {DOCKER}"
        )
    else:
        return
    raise ElasticError(f"{urls} {reason}")


def _checked_url(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"url must look like {DEFAULT_URL} or https://search.example.org:9200, not {url!r}")
    if parts.username or parts.password:  # it would stand in every message about the server
        raise ValueError("url must not hold a password; pass user and password, or set SEMSEARCH_ELASTICSEARCH_…")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}{parts.path}"


def _variable(name: str) -> str | None:
    return os.environ.get(f"SEMSEARCH_ELASTICSEARCH_{name}") or None
