"""What to do about an error, in a sentence."""

TLS = (
    "does METAGOV_ENDPOINT begin with https:// exactly when the gateway does TLS? "
    "who vouches for its certificate can be given as METAGOV_CA; "
    "if it is not valid at this time, is this machine's clock right?"
)
UNREACHABLE = "is the gateway running, and is METAGOV_ENDPOINT right?"
# Somebody took the connection and ended it: a gateway that stops, or not what was expected.
HUNG_UP = (
    "is the gateway running, is METAGOV_ENDPOINT the address of its gRPC, and does it begin with "
    "https:// exactly when the gateway does TLS?"
)
NO_GATEWAY = "METAGOV_ENDPOINT is not a Metagov gRPC address"
TOKEN = "give a valid token as METAGOV_TOKEN; an admin makes one with `metagov token create`"

BY_REASON = {
    "ERROR_REASON_CURSOR_EXPIRED": "the events after the cursor are gone; go on from metadata "
    "earliest_cursor, and know that some were missed",
    "ERROR_REASON_CURSOR_FOREIGN": "the cursor is of another feed; go on from metadata "
    "earliest_cursor, and know that some events may come again",
    "ERROR_REASON_CURSOR_INVALID": "give a cursor exactly as it was handed out",
    "ERROR_REASON_SCHEMA_MISMATCH": "correct the fields that are named",
    "ERROR_REASON_INVALID_FIELD": "correct the fields that are named",
    "ERROR_REASON_PLUGIN_NOT_ENABLED": "enable the plugin for the community first",
    "ERROR_REASON_ETAG_MISMATCH": "read it again, and change what you read",
    "ERROR_REASON_OUTCOME_UNKNOWN": "look at the platform before you try again",
    "ERROR_REASON_ROLE_TOO_SMALL": "use a token with the role that metadata needs names",
}

BY_CODE = {
    "UNAUTHENTICATED": TOKEN,
    "RESOURCE_EXHAUSTED": "try again later",
    "UNAVAILABLE": "try again in a moment",
    "ABORTED": "try again",
    "DEADLINE_EXCEEDED": "it took longer than you allowed; it may still happen",
    "NOT_FOUND": "is its id right, and may your token see it?",
}

# What grpc's own errors say when the two sides do not agree about TLS; while a gateway
# stops, a handshake may just fail, which passes.
_TLS_SIGNS = ("handshake failed", "peer certificate")
_LASTING_TLS_SIGNS = ("certificate_verify_failed", "wrong_version_number", "peer certificate")

# What they say when something else than a gRPC server answers.
_OTHER_SIGNS = ("http1.x server", "status: 404", "status: 415", "status: 405", "status: 400")


def is_lasting(message: str) -> bool:
    """Whether an error of the connection is about TLS, and no retry cures it."""
    return _has(message, _LASTING_TLS_SIGNS)


def advise(code: str, reason: str, message: str) -> str:
    """What to do about an error; empty if there is nothing to add to its message."""
    if reason:
        return BY_REASON.get(reason) or BY_CODE.get(code, "")
    if _has(message, (*_TLS_SIGNS, *_LASTING_TLS_SIGNS)):
        return TLS
    if code == "UNIMPLEMENTED" or _has(message, _OTHER_SIGNS):
        return NO_GATEWAY
    if code == "UNAVAILABLE":
        return HUNG_UP if "socket closed" in message.lower() else UNREACHABLE
    return BY_CODE.get(code, "")


def _has(message: str, signs: tuple[str, ...]) -> bool:
    return any(sign in message.lower() for sign in signs)
