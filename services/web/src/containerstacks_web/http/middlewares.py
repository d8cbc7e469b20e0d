"""What happens around every request: an id, a log line, and an answer to every error.

From the outside in: `answer_anonymous` (in `response_cache.py`), `log_request`, `answer_errors`, `enforce_policy`
(in `policy.py`), the session, `admit`. The headers that every response carries are set when it is sent
(`response_headers.py`), so that no path to a response can miss them.
"""

import time
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from containerstacks_shared.core.errors import ChangeRefused, DatabaseSlow, NotFound, as_sentence, describe
from containerstacks_shared.database import db
from containerstacks_web.metrics import requests_with

from .client_address import visitor_of
from .identity import ANONYMOUS, IDENTITY
from .paths import PROBES, STATIC_PREFIX
from .policy import allowed_methods
from .problem_types import ProblemType
from .problems import RequestRefused, problem_response
from .request_ids import REQUEST_ID, request_id_of

_log = structlog.get_logger(__name__)


@web.middleware
async def log_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[REQUEST_ID] = request_id_of(request)
    started = time.perf_counter()
    status: int | None = None
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]):
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as redirect:
            status = redirect.status
            raise
        finally:
            requests_with(str(status)).inc()
            # Nobody reads log lines of probes, of a page's files, or of a flood.
            is_routine = request.path in PROBES or request.path.startswith(STATIC_PREFIX)
            log = _log.debug if is_routine or status == HTTPStatus.TOO_MANY_REQUESTS else _log.info
            log(
                "request.served",
                method=request.method,
                path=request.path,
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
                address=str(visitor_of(request).address),
                role=request.get(IDENTITY, ANONYMOUS).role.value,
            )
        return response


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RequestRefused as error:
        refused = error
    except NotFound as error:
        refused = RequestRefused(ProblemType.NOT_FOUND, as_sentence(error))
    except ChangeRefused as error:
        refused = RequestRefused(ProblemType.CONFLICT, as_sentence(error))
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        refused = _refused_by_aiohttp(error)
    except db.UNAVAILABLE as error:
        _log.warning("request.database_away", path=request.path, error=describe(error))
        # Other errors may name hosts and roles.
        reason = (
            as_sentence(error)
            if isinstance(error, DatabaseSlow)
            else "The database cannot be reached at the moment."
        )
        refused = RequestRefused(
            ProblemType.DATABASE_UNAVAILABLE,
            f"{reason} Try again in a few seconds.",
            headers={"Retry-After": "5"},
        )
    except Exception:  # noqa: BLE001 - the edge: logged here once, and answered
        _log.exception("request.failed", path=request.path)
        refused = RequestRefused(
            ProblemType.INTERNAL_ERROR,
            "Something went wrong on our side. It has been logged under the request's id.",
        )
    return await problem_response(request, refused)


def _refused_by_aiohttp(error: web.HTTPException) -> RequestRefused:
    headers: dict[str, str] = {}
    if hdrs.ALLOW in error.headers:
        headers[hdrs.ALLOW] = allowed_methods(error.headers[hdrs.ALLOW])
    problem = ProblemType.of(HTTPStatus(error.status))
    return RequestRefused(problem, _explain(error), status=error.status, headers=headers)


def _explain(error: web.HTTPException) -> str:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return "There is nothing at this address."
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return "This address does not take requests of this kind."
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return "The request is larger than this service accepts."
        case _:
            return error.text or error.reason
