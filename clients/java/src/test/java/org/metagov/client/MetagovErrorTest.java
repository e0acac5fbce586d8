package org.metagov.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.BadRequest.FieldViolation;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.security.cert.CertificateException;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class MetagovErrorTest {
    static StatusRuntimeException fault(Code code, Message... details) {
        var status = com.google.rpc.Status.newBuilder();
        status.setCode(code.value()).setMessage("so it is");
        for (var detail : details) {
            status.addDetails(Any.pack(detail));
        }
        return StatusProto.toStatusRuntimeException(status.build());
    }

    static ErrorInfo info(String reason) {
        return ErrorInfo.newBuilder()
                .setDomain("metagov.org")
                .setReason(reason)
                .putMetadata("key", "value")
                .build();
    }

    private static boolean passes(Throwable fault) {
        return Faults.mayPass(MetagovError.of(fault), fault);
    }

    @Test
    void allDetailsAreRead() {
        var field = FieldViolation.newBuilder().setField("a/b").setDescription("is wrong");
        var delay = com.google.protobuf.Duration.newBuilder().setSeconds(1).setNanos(500_000_000);
        var error =
                MetagovError.of(
                        fault(
                                Code.INVALID_ARGUMENT,
                                info("ERROR_REASON_INVALID_FIELD"),
                                BadRequest.newBuilder().addFieldViolations(field).build(),
                                RetryInfo.newBuilder().setRetryDelay(delay).build()));
        assertEquals(
                new MetagovError(
                        Code.INVALID_ARGUMENT,
                        "ERROR_REASON_INVALID_FIELD",
                        "so it is",
                        Map.of("a/b", "is wrong"),
                        Map.of("key", "value"),
                        Optional.of(Duration.ofMillis(1500)),
                        "correct the fields that are named"),
                error);
    }

    @Test
    void reasonsOfOthersAreNotTheGateways() {
        var other = info("OTHER").toBuilder().setDomain("example.com").build();
        var error = MetagovError.of(fault(Code.INTERNAL, other));
        assertEquals("", error.reason());
        assertEquals(Map.of(), error.metadata());
    }

    @Test
    void whatIsNotOfGrpcIsReadToo() {
        var argument = MetagovError.of(new IllegalArgumentException("a"));
        assertEquals(Code.INVALID_ARGUMENT, argument.code());
        assertEquals(Code.UNKNOWN, MetagovError.of(new IllegalStateException("a")).code());
    }

    @Test
    void whatMayPassIsTriedAgain() {
        assertTrue(passes(fault(Code.UNAVAILABLE)));
        assertTrue(passes(fault(Code.UNAVAILABLE, info("ERROR_REASON_DRAINING"))));
        assertTrue(passes(fault(Code.INTERNAL)));
        assertFalse(passes(fault(Code.INTERNAL, info("ERROR_REASON_INTERNAL"))));
        assertFalse(passes(fault(Code.RESOURCE_EXHAUSTED, info("ERROR_REASON_MESSAGE_TOO_LARGE"))));
        assertFalse(passes(fault(Code.UNAUTHENTICATED)));
        assertFalse(passes(fault(Code.UNIMPLEMENTED)));
    }

    @Test
    void aCertificateThatIsNotTrustedIsAdvisedOnAndNotTriedAgain() {
        var cause = new CertificateException("no path");
        var fault = Status.UNAVAILABLE.withCause(new RuntimeException(cause)).asRuntimeException();
        assertFalse(passes(fault));
        assertTrue(MetagovError.of(fault).advice().contains("METAGOV_CA"));
    }

    @Test
    void pausesDoubleAndAreNoShorterThanTheGatewayAsks() {
        var backoff = new Backoff();
        var plain = MetagovError.of(fault(Code.UNAVAILABLE));
        for (var most : new int[] {100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000}) {
            var delay = backoff.next(plain).toMillis();
            assertTrue(delay >= most / 2 && delay <= most, delay + " of " + most);
        }
        backoff.reset();
        assertTrue(backoff.next(plain).toMillis() <= 100);
        var asks = com.google.protobuf.Duration.newBuilder().setSeconds(60).build();
        var asking = fault(Code.UNAVAILABLE, RetryInfo.newBuilder().setRetryDelay(asks).build());
        assertEquals(Duration.ofMinutes(1), backoff.next(MetagovError.of(asking)));
    }
}
