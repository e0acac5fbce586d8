package org.metagov.client;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.grpc.Status.Code;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * What went wrong, in one shape for every way to fail. Branch on the code first, on the reason
 * if you must, on the message never.
 *
 * @param code the gRPC code
 * @param reason the name of a value of {@link org.metagov.v1.ErrorReason}; empty if the error is
 *     not the gateway's
 * @param message for people
 * @param fields what is wrong with which field of the request: path → description
 * @param metadata what the reason's comment in error.proto says, such as earliest_cursor
 * @param retryDelay how long to wait before the next try, if the gateway says
 * @param advice what to do, in a sentence; empty where the message says all there is
 */
public record MetagovError(
        Code code,
        String reason,
        String message,
        Map<String, String> fields,
        Map<String, String> metadata,
        Optional<Duration> retryDelay,
        String advice) {

    /** Whose reasons are the gateway's own. */
    private static final String DOMAIN = "metagov.org";

    /**
     * Reads what a call, a helper or connecting has thrown.
     *
     * <p>An IllegalArgumentException is INVALID_ARGUMENT; what is not of gRPC is UNKNOWN.
     */
    public static MetagovError of(Throwable thrown) {
        if (thrown instanceof IllegalArgumentException) {
            return read(Code.INVALID_ARGUMENT, thrown.getMessage(), details(thrown), thrown);
        }
        var status = io.grpc.Status.fromThrowable(thrown);
        return read(status.getCode(), message(status, thrown), details(thrown), thrown);
    }

    private static String message(io.grpc.Status status, Throwable thrown) {
        var message = status.getDescription();
        if (message == null) {
            return thrown.getMessage();
        }
        // Of the transport gRPC says "io exception", and the cause what it was.
        var cause = Faults.innermost(thrown);
        return cause.isEmpty() || message.contains(cause) ? message : message + ": " + cause;
    }

    private static MetagovError read(Code code, String message, Status details, Throwable thrown) {
        var info = find(details, ErrorInfo.class).filter(found -> found.getDomain().equals(DOMAIN));
        var reason = info.map(ErrorInfo::getReason).orElse("");
        return new MetagovError(
                code,
                reason,
                message == null ? "" : message,
                fields(details),
                info.map(ErrorInfo::getMetadataMap).orElse(Map.of()),
                find(details, RetryInfo.class).map(MetagovError::delay),
                Advice.of(code, reason, thrown));
    }

    private static Map<String, String> fields(Status details) {
        var fields = new LinkedHashMap<String, String>();
        var bad = find(details, BadRequest.class).orElse(BadRequest.getDefaultInstance());
        for (var violation : bad.getFieldViolationsList()) {
            fields.put(violation.getField(), violation.getDescription());
        }
        return fields;
    }

    private static Duration delay(RetryInfo info) {
        var delay = info.getRetryDelay();
        return Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
    }

    private static Status details(Throwable thrown) {
        try {
            var status = StatusProto.fromThrowable(thrown);
            return status == null ? Status.getDefaultInstance() : status;
        } catch (IllegalArgumentException unreadable) {
            // Not the gateway's: whoever is on the way may send anything.
            return Status.getDefaultInstance();
        }
    }

    private static <M extends Message> Optional<M> find(Status details, Class<M> kind) {
        for (var detail : details.getDetailsList()) {
            try {
                if (detail.is(kind)) {
                    return Optional.of(detail.unpack(kind));
                }
            } catch (InvalidProtocolBufferException unreadable) {
                // As above.
            }
        }
        return Optional.empty();
    }
}
