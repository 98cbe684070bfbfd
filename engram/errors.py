"""Domain errors. Services raise them with facts; only the server's exception handlers turn them into HTTP.

    EngramError
    ├── NotFound            404   a fact, run, version or space that is not there
    │   └── ModelNotFound         the `model` of a chat request
    ├── InvalidRequest      400   a value that cannot be worked with; `param` names it
    ├── Conflict            409   the state does not allow it
    ├── NotAuthenticated    401   no key, or one that is not known
    ├── NotPermitted        403   the key lacks the scope
    ├── TooLarge            413   a body over the limit
    ├── EngineUnavailable   503   vLLM is down or its adapters are not loaded yet; `retry_after_s`
    └── AdapterRejected     500   an adapter failed its checks; never offered to the engine

To add one, subclass the nearest and set `status`, `type` and `code`.
"""


class EngramError(Exception):
    """Root of all domain errors. `status` is the HTTP status a client would see."""

    status = 500
    type = "server_error"
    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class NotFound(EngramError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class InvalidRequest(EngramError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class Conflict(EngramError):
    status = 409
    type = "invalid_request_error"
    code = "conflict"


class NotAuthenticated(EngramError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class NotPermitted(EngramError):
    status = 403
    type = "permission_error"
    code = "insufficient_scope"


class TooLarge(EngramError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class EngineUnavailable(EngramError):
    status = 503
    type = "server_error"
    code = "engine_unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AdapterRejected(EngramError):
    """The adapter's files do not fit the base or are damaged."""

    code = "adapter_rejected"
