package org.metagov.client;

import io.grpc.Status.Code;
import java.security.cert.CertificateException;
import java.util.EnumSet;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** What kind of fault an error is. */
final class Faults {
    /** A retry may help, whoever says so. */
    private static final Set<Code> PASSING =
            EnumSet.of(
                    Code.UNAVAILABLE,
                    Code.RESOURCE_EXHAUSTED,
                    Code.ABORTED,
                    Code.DEADLINE_EXCEEDED);

    /** These come from the transport or a proxy, unless the gateway gives a reason. */
    private static final Set<Code> OF_THE_WAY =
            EnumSet.of(Code.CANCELLED, Code.INTERNAL, Code.UNKNOWN);

    /** How Netty shows the alert with which TLS answers who does not speak it. */
    private static final Pattern TLS_ALERT = Pattern.compile("not SETTINGS\\. Hex dump .*: 1503");

    private static final Pattern ANOTHER_SERVER =
            Pattern.compile("HTTP status code 4|frame was not SETTINGS");

    private Faults() {}

    /** Whether a retry may cure it. */
    static boolean mayPass(MetagovError error, Throwable cause) {
        if (!error.reason().isEmpty()) {
            return PASSING.contains(error.code())
                    && !error.reason().equals("ERROR_REASON_MESSAGE_TOO_LARGE");
        }
        return !isOfTls(cause)
                && (PASSING.contains(error.code()) || OF_THE_WAY.contains(error.code()));
    }

    /** Whether the two sides do not agree about TLS, which no retry cures. */
    static boolean isOfTls(Throwable error) {
        return causes(error).anyMatch(Faults::saysTls);
    }

    /** Whether what answers is no gRPC server. */
    static boolean isOfAnotherServer(Throwable error) {
        return causes(error).map(Faults::text).anyMatch(ANOTHER_SERVER.asPredicate());
    }

    /** What the innermost cause says; empty if there is none. */
    static String innermost(Throwable error) {
        return causes(error).skip(1).reduce((outer, inner) -> inner).map(Faults::text).orElse("");
    }

    private static boolean saysTls(Throwable cause) {
        // A class of Netty, whose package is another where Netty is shaded.
        return cause instanceof CertificateException
                || cause.getClass().getSimpleName().equals("NotSslRecordException")
                || TLS_ALERT.matcher(text(cause)).find();
    }

    private static Stream<Throwable> causes(Throwable error) {
        return Stream.iterate(error, cause -> cause != null, Throwable::getCause).limit(20);
    }

    private static String text(Throwable cause) {
        return Objects.toString(cause.getMessage(), "");
    }
}
