package metagov

import (
	"strings"

	"google.golang.org/grpc/codes"

	metagovv1 "metagov.org/go/metagov/v1"
)

const (
	adviceAddress = "METAGOV_ENDPOINT is not a Metagov gRPC address"
	adviceRunning = "is the gateway running, and is METAGOV_ENDPOINT right?"
	adviceTLS     = "does METAGOV_ENDPOINT begin with https:// exactly when the gateway does TLS? " +
		"who vouches for its certificate can be given as METAGOV_CA; " +
		"if it is not valid at this time, is this machine's clock right?"
	adviceToken = "give a valid token as METAGOV_TOKEN; an admin makes one with `metagov token create`"
)

// What to do about the gateway's own reasons, where the message does not say it.
var adviceOn = map[metagovv1.ErrorReason]string{
	metagovv1.ErrorReason_ERROR_REASON_CURSOR_EXPIRED: "the events after the cursor are gone; go on from " +
		"metadata earliest_cursor, and know that some were missed",
	metagovv1.ErrorReason_ERROR_REASON_CURSOR_FOREIGN: "the cursor is of another feed, as after a restore; " +
		"go on from metadata earliest_cursor, and expect events that you have seen",
	metagovv1.ErrorReason_ERROR_REASON_CURSOR_AHEAD: "the log is shorter than it was, as after a restore; " +
		"watch from earliest, and expect events that you have seen",
	metagovv1.ErrorReason_ERROR_REASON_CURSOR_INVALID: "pass a cursor as the gateway gave it, whole",
	metagovv1.ErrorReason_ERROR_REASON_ROLE_TOO_SMALL: "call with a token whose role is the one that " +
		"metadata needs names, or a larger one",
	metagovv1.ErrorReason_ERROR_REASON_OUTCOME_UNKNOWN: "look at the platform whether it was done, before " +
		"you try again with a new request_id",
	metagovv1.ErrorReason_ERROR_REASON_ETAG_MISMATCH:       "read it again, then retry",
	metagovv1.ErrorReason_ERROR_REASON_REQUEST_IN_PROGRESS: "try again later with the same request_id",
	metagovv1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED:   "ask again with the same request_id",
	metagovv1.ErrorReason_ERROR_REASON_PLUGIN_NOT_ENABLED:  "enable the plugin for the community first",
	metagovv1.ErrorReason_ERROR_REASON_INSTALLATION_AMBIGUOUS: "name one of metadata installation_ids " +
		"as installation_id",
	metagovv1.ErrorReason_ERROR_REASON_PLATFORM_UNAUTHORIZED: "give the installation new credentials",
	metagovv1.ErrorReason_ERROR_REASON_INTERNAL:              "the gateway's log has more under metadata request_id",
}

// advice is a sentence about what to do, or nothing.
func advice(f *Fault) string {
	if f.Code == codes.Unauthenticated {
		return adviceToken
	}
	if f.Reason == "" {
		return adviceOnTransport(f)
	}
	reason := metagovv1.ErrorReason(metagovv1.ErrorReason_value[f.Reason])
	if text, known := adviceOn[reason]; known {
		return text
	}
	if f.RetryDelay > 0 {
		return "try again after " + f.RetryDelay.String()
	}
	return ""
}

// adviceOnTransport is about what no gateway said: the connection, or who else answers.
func adviceOnTransport(f *Fault) string {
	switch {
	case isOfTLS(f):
		return adviceTLS
	case strings.Contains(f.Message, "looked like an HTTP/1.1 header"):
		return adviceAddress
	case f.Code == codes.Unavailable:
		return adviceRunning
	case f.Code == codes.Unimplemented, strings.Contains(f.Message, "unexpected HTTP status code"):
		return adviceAddress
	}
	return ""
}

// isOfTLS tells by gRPC's wording, since it keeps nothing else of a failed handshake. One
// that was merely cut off is none of TLS's: then a gateway stopped in its midst.
func isOfTLS(f *Fault) bool {
	if f.Code != codes.Unavailable || f.Reason != "" {
		return false
	}
	if strings.Contains(f.Message, errTLSAlert.Error()) {
		return true
	}
	_, handshake, _ := strings.Cut(f.Message, "authentication handshake failed: ")
	return strings.Contains(handshake, "tls:") || strings.Contains(handshake, "x509:")
}
