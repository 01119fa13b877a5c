"""Classification of S3 errors, in one function, so that every call is treated alike."""

from __future__ import annotations

import ssl

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ResponseStreamingError,
    SSLError,
)

from evalrun_runner.errors import ObjectMissing, StoreDenied, StoreError, StoreFull, StoreUnavailable

_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})
_FULL = frozenset({"InsufficientStorage", "InsufficientCapacity", "QuotaExceeded", "XMinioStorageFull", "507"})
_UNAVAILABLE = frozenset({
    "BadDigest", "IncompleteBody", "InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable",
    "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "XAmzContentSHA256Mismatch",
})  # fmt: skip
_ADVICE = {
    "NoSuchBucket": "The bucket does not exist: create it, or correct the URI or the endpoint",
    "AccessDenied": (
        "These credentials may not do this, or the bucket is not there: they need to get, put, delete and list below "
        "that prefix"
    ),
    "InvalidAccessKeyId": "The store does not know this access key: correct the credentials or the endpoint",
    "SignatureDoesNotMatch": "The secret key is wrong: correct the credentials",
    "ExpiredToken": "The session token has expired: renew the credentials",
    "InvalidToken": "The session token is not valid: renew the credentials",
    "RequestTimeTooSkewed": "This machine's clock differs too much from the store's: set it",
    "AuthorizationHeaderMalformed": "The region is wrong: set it to the bucket's",
    "PermanentRedirect": "The region or the endpoint is wrong: set them to the bucket's",
    "NotImplemented": "The store cannot do this; it must know conditional creates (If-None-Match)",
}  # fmt: skip
_HOW_TO_GIVE_KEYS = (
    "hint: on one machine set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and AWS_DEFAULT_REGION; or "
    "add a Secret to the file as a further document (---) and name it in storage.credentialsSecretRef. In a cluster "
    "name a Secret there, or give the pod an identity"
)
_DENIED_BY_CLIENT = (NoCredentialsError, PartialCredentialsError, ProfileNotFound, NoRegionError, ParamValidationError)
_HTTP_NOT_FOUND, _HTTP_TOO_MANY, _HTTP_NOT_IMPLEMENTED, _HTTP_FULL = 404, 429, 501, 507


def is_conflict(error: Exception) -> bool:
    """Return whether a conditional create conflicted with an object (412) or with a create in progress (409)."""
    if not isinstance(error, ClientError):
        return False
    code, status = _code(error)
    return code in {"PreconditionFailed", "ConditionalRequestConflict"} or status in {409, 412}


def classify(error: ClientError | BotoCoreError, *, where: str, bucket: str) -> StoreError:
    """Convert boto3's error into the store's.

    Args:
        error: The error that boto3 raised.
        where: Object and endpoint, for the message.
        bucket: The bucket's name, for the message.
    """
    if isinstance(error, ClientError):
        return _classify_answer(error, where, bucket)
    reason = f"{where}: {error}"
    if isinstance(error, _DENIED_BY_CLIENT):
        return StoreDenied(f"{reason.rstrip('.')}; {_HOW_TO_GIVE_KEYS}")
    if isinstance(error, SSLError) and _is_untrusted(error):
        return StoreDenied(f"{reason}. The endpoint's certificate is not trusted: give its authority as the CA bundle")
    if isinstance(error, ConnectionError | HTTPClientError | ResponseStreamingError):
        return StoreUnavailable(f"{reason}. Check the endpoint and the network")
    # The remaining errors (a truncated answer, an identity service that does not answer) are often temporary.
    return StoreUnavailable(reason)


def _classify_answer(error: ClientError, where: str, bucket: str) -> StoreError:
    code, status = _code(error)
    said = error.response.get("Error", {}).get("Message", "") or str(error)
    reason = f"{where}: {code or status}: {said.rstrip('.')}"
    if code in _FULL or status == _HTTP_FULL:
        return StoreFull(f"{reason}. Free space in bucket {bucket} or raise its quota; the run goes on from there")
    if code in _MISSING or (status == _HTTP_NOT_FOUND and code not in _ADVICE):
        return ObjectMissing(f"{where} is not there")
    if code in _ADVICE:
        return StoreDenied(f"{reason}. {_ADVICE[code]}")
    if code in _UNAVAILABLE or status == _HTTP_TOO_MANY or (status >= 500 and status != _HTTP_NOT_IMPLEMENTED):
        return StoreUnavailable(f"{reason}. The store is overloaded, broken or full")
    if status in {409, 412}:
        return StoreUnavailable(f"{reason}. Another writer was at this object")
    return StoreDenied(f"{reason}. {_ADVICE['AccessDenied']}")


def _code(error: ClientError) -> tuple[str, int]:
    answer = error.response
    return (
        str(answer.get("Error", {}).get("Code", "")),
        int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)),
    )


def _is_untrusted(error: BaseException) -> bool:
    """Return whether an unverifiable certificate is among the causes; a broken connection is not."""
    seen: list[object] = [error]
    for cause in seen:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        if isinstance(cause, BaseException):
            more = (cause.__cause__, cause.__context__, *cause.args, *getattr(cause, "kwargs", {}).values())
            seen.extend(one for one in more if isinstance(one, BaseException) and one not in seen)
    return False
