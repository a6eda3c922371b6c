"""A client for a server that answers, with errors that say what to do where none does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
GONE = "the server has no index or alias {!r}; make it with client.indices.create"


class ElasticError(RuntimeError):
    """The server does not answer, refuses, or holds something else than was expected."""


class NoAnswerError(ElasticError):
    """The server has answered before and does not now."""


def connect(url: str | None = None, **options: Any) -> Elasticsearch:
    """The official client, for a server that has answered.

    What is not given comes from the environment: `SEMSEARCH_ELASTICSEARCH_URL` (else port 9200 of this computer;
    several nodes of one cluster are separated by commas), `…_API_KEY`, or `…_USER` and `…_PASSWORD`, and `…_CA_FILE`
    for certificates that no public authority has signed. `options` are those of the client; a request that a node
    does not answer within a minute goes to the next one.

    Raises:
        ValueError: a URL or options that the client does not take.
        ElasticError: nothing answers, the certificate or the credentials are refused, or the server is
            no Elasticsearch 8 or 9.
    """
    chosen = {"request_timeout": 60, "retry_on_timeout": True, "max_retries": 3, **_from_environment(), **options}
    if {"api_key", "basic_auth", "bearer_auth"} & set(options):  # given here, so not those of the environment
        chosen = {key: value for key, value in chosen.items() if key in options or not key.endswith(("_key", "_auth"))}
    if (ca := chosen.get("ca_certs")) and not Path(ca).is_file():
        raise ValueError(f"ca_certs must be a file with certificates (PEM), and there is none at {str(ca)!r}")
    client = Elasticsearch((url or _variable("URL") or DEFAULT_URL).split(","), **chosen)
    try:
        _greet(client)
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


def _greet(client: Elasticsearch) -> None:
    """Ask for the health of the cluster, as the smallest thing that needs a server and its consent."""
    urls = ", ".join(node.base_url for node in client.transport.node_pool.all())  # without a password
    try:
        client.options(request_timeout=10).cluster.health()
    except AuthorizationException:
        return  # the credentials are right, and their owner may not look at the cluster as a whole
    except AuthenticationException:
        reason = "refuses the credentials; pass others or set SEMSEARCH_ELASTICSEARCH_API_KEY, or …_USER and …_PASSWORD"
    except UnsupportedProductError:
        reason = "answers, but is no Elasticsearch of version 8 or 9; check the address"
    except SSLError as error:
        reason = f"has a certificate that is not trusted ({error.message}); pass its authority's file as ca_certs"
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


def _from_environment() -> dict[str, Any]:
    user, password = _variable("USER"), _variable("PASSWORD")
    if bool(user) != bool(password):
        raise ValueError(f"SEMSEARCH_ELASTICSEARCH_{'PASSWORD' if user else 'USER'} is missing; set both")
    found = {
        "api_key": _variable("API_KEY"),
        "basic_auth": (user, password) if user else None,
        "ca_certs": _variable("CA_FILE"),
    }
    return {key: value for key, value in found.items() if value}


def _variable(name: str) -> str | None:
    return os.environ.get(f"SEMSEARCH_ELASTICSEARCH_{name}") or None
