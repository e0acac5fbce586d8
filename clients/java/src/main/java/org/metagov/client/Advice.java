package org.metagov.client;

import io.grpc.Status.Code;
import java.util.Map;

/** What to do about an error, in a sentence. */
final class Advice {
    private static final String TLS =
            "does METAGOV_ENDPOINT begin with https:// exactly when the gateway does TLS? "
                    + "who vouches for its certificate can be given as METAGOV_CA; "
                    + "if it is not valid at this time, is this machine's clock right?";
    private static final String UNREACHABLE =
            "is the gateway running, and is METAGOV_ENDPOINT right?";
    private static final String NO_GATEWAY = "METAGOV_ENDPOINT is not a Metagov gRPC address";
    private static final String CORRECT = "correct the fields that are named";

    private static final Map<String, String> BY_REASON =
            Map.of(
                    "ERROR_REASON_CURSOR_EXPIRED",
                    "the events after the cursor are gone; go on from metadata earliest_cursor, "
                            + "and know that some were missed",
                    "ERROR_REASON_CURSOR_FOREIGN",
                    "the cursor is of another feed; go on from metadata earliest_cursor, and know "
                            + "that some events may come again",
                    "ERROR_REASON_CURSOR_INVALID",
                    "give a cursor exactly as it was handed out",
                    "ERROR_REASON_SCHEMA_MISMATCH",
                    CORRECT,
                    "ERROR_REASON_INVALID_FIELD",
                    CORRECT,
                    "ERROR_REASON_PLUGIN_NOT_ENABLED",
                    "enable the plugin for the community first",
                    "ERROR_REASON_ETAG_MISMATCH",
                    "read it again, and change what you read",
                    "ERROR_REASON_OUTCOME_UNKNOWN",
                    "look at the platform before you try again",
                    "ERROR_REASON_ROLE_TOO_SMALL",
                    "use a token with the role that metadata needs names");

    private static final Map<Code, String> BY_CODE =
            Map.of(
                    Code.UNAUTHENTICATED,
                    "give a valid token as METAGOV_TOKEN; an admin makes one with "
                            + "`metagov token create`",
                    Code.RESOURCE_EXHAUSTED,
                    "try again later",
                    Code.UNAVAILABLE,
                    "try again in a moment",
                    Code.ABORTED,
                    "try again",
                    Code.DEADLINE_EXCEEDED,
                    "it took longer than you allowed; it may still happen",
                    Code.NOT_FOUND,
                    "is its id right, and may your token see it?");

    private Advice() {}

    /** What to do; empty if there is nothing to add to the message. */
    static String of(Code code, String reason, Throwable thrown) {
        var usual = BY_CODE.getOrDefault(code, "");
        if (!reason.isEmpty()) {
            return BY_REASON.getOrDefault(reason, usual);
        }
        if (Faults.isOfTls(thrown)) {
            return TLS;
        }
        if (code == Code.UNIMPLEMENTED || Faults.isOfAnotherServer(thrown)) {
            return NO_GATEWAY;
        }
        return code == Code.UNAVAILABLE ? UNREACHABLE : usual;
    }
}
