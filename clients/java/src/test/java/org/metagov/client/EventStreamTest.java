package org.metagov.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.metagov.client.FakeGateway.message;

import io.grpc.Status;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.metagov.v1.StartAt;

@Timeout(20)
class EventStreamTest {
    private FakeGateway gateway;

    @BeforeEach
    void start() throws Exception {
        gateway = new FakeGateway();
    }

    @AfterEach
    void stop() {
        gateway.close();
    }

    private static List<String> take(EventStream stream, int count) {
        var ids = new ArrayList<String>();
        while (ids.size() < count) {
            ids.add(stream.next().getEventId());
        }
        return ids;
    }

    @Test
    void itGoesOnAfterWhatWasHandedOut() {
        gateway.answers(stream -> {
                    stream.onNext(message("2+", "1", "2"));
                    stream.onError(Status.INTERNAL.asRuntimeException());
                })
                .answers(stream -> {
                    stream.onNext(message("3", "3"));
                    stream.onCompleted();
                })
                .answers(stream -> stream.onNext(message("4", "4")));
        var retries = new ArrayList<Code>();
        var watch = gateway.client.watch().onRetry((error, delay) -> retries.add(error.code()));
        try (var stream = watch.open()) {
            assertEquals(List.of("1", "2", "3", "4"), take(stream, 4));
            assertEquals("4", stream.cursor());
        }
        assertEquals(StartAt.START_AT_LATEST, gateway.asked.get(0).getStartAt());
        assertEquals("2+", gateway.asked.get(1).getAfterCursor());
        assertEquals("3", gateway.asked.get(2).getAfterCursor());
        assertEquals(List.of(Code.INTERNAL, Code.UNAVAILABLE), retries);
    }

    @Test
    void placesWithoutEventsAreHandedOut() {
        gateway.answers(stream -> {
            stream.onNext(message("1"));
            stream.onNext(message("4", "2", "3"));
            stream.onNext(message("6", "5"));
        });
        var places = new ArrayList<String>();
        try (var stream = gateway.client.watch().after("0").onPosition(places::add).open()) {
            assertEquals("0", stream.cursor());
            take(stream, 1);
            assertEquals("2", stream.cursor());
            take(stream, 2);
        }
        assertEquals(List.of("1", "4"), places);
    }

    @Test
    void aSubscriptionAcknowledgesWhenTheNextIsAskedFor() {
        gateway.answers(stream -> {
                    stream.onNext(message("0"));
                    stream.onNext(message("2", "1", "2"));
                    stream.onCompleted();
                })
                .answers(stream -> stream.onNext(message("3", "3")));
        try (var stream = gateway.client.watch().subscription("bot").open()) {
            take(stream, 2);
            assertEquals(List.of("0", "1"), gateway.acknowledged);
            take(stream, 1);
            assertEquals(List.of("0", "1", "2"), gateway.acknowledged);
            stream.acknowledge();
            stream.acknowledge();
        }
        assertEquals(List.of("0", "1", "2", "3"), gateway.acknowledged);
        assertEquals("bot", gateway.asked.get(1).getSubscriptionId());
    }

    @Test
    void whatNoRetryCuresEndsIt() {
        var fault = MetagovErrorTest.fault(
                Code.OUT_OF_RANGE, MetagovErrorTest.info("ERROR_REASON_CURSOR_EXPIRED"));
        gateway.answers(stream -> stream.onError(fault));
        try (var stream = gateway.client.watch().after("old").open()) {
            var thrown = assertThrows(StatusRuntimeException.class, stream::hasNext);
            assertEquals("ERROR_REASON_CURSOR_EXPIRED", MetagovError.of(thrown).reason());
        }
    }

    @Test
    void anyThreadMayCloseIt() throws Exception {
        var asked = new CompletableFuture<Void>();
        gateway.answers(stream -> asked.complete(null));
        var stream = gateway.client.watch().open();
        var waiting = CompletableFuture.supplyAsync(stream::hasNext);
        asked.get();
        stream.close();
        assertFalse(waiting.get());
        var other = CompletableFuture.supplyAsync(gateway.client.watch().open()::hasNext);
        gateway.client.close();
        assertFalse(other.get());
    }

    @Test
    void aSubscriberIsGivenWhatItAsksFor() throws Exception {
        gateway.answers(stream -> stream.onNext(message("3", "1", "2", "3")));
        var had = new ArrayList<String>();
        var both = new CompletableFuture<Flow.Subscription>();
        gateway.client.watch().publisher().subscribe(new Taker(2, had, both));
        both.get().cancel();
        assertEquals(List.of("1", "2"), had);
    }
}
