package org.metagov.client;

import com.google.protobuf.Timestamp;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.Flow;
import java.util.function.Consumer;
import org.metagov.v1.Event;
import org.metagov.v1.EventFilter;
import org.metagov.v1.StartAt;
import org.metagov.v1.WatchEventsRequest;

/**
 * Which events to read, and from where: what happens from now on, unless said otherwise.
 *
 * <pre>{@code
 * try (var events = metagov.watch().after(saved).open()) {
 *     for (var event : events) {
 *         act(event);
 *         save(event.getCursor());
 *     }
 * }
 * }</pre>
 *
 * <p>A broken connection, a silent or a stopping gateway is waited for, and the stream goes on
 * after the last event, with none lost and none twice. It ends with {@link
 * io.grpc.StatusRuntimeException} where that cannot help: a bad token, a cursor whose events are
 * gone, a certificate that is not trusted.
 */
public final class Watch {
    private final Line line;
    private final WatchEventsRequest.Builder request =
            WatchEventsRequest.newBuilder().setStartAt(StartAt.START_AT_LATEST);
    private Heartbeat heartbeat = Heartbeat.USUAL;
    private RetryListener retryListener = (error, delay) -> {};
    private Consumer<String> positionListener = cursor -> {};

    Watch(Line line) {
        this.line = line;
    }

    /** Only these events. A subscription has a filter of its own. */
    public Watch filter(EventFilter filter) {
        request.setFilter(filter);
        return this;
    }

    /** From the event after this cursor. */
    public Watch after(String cursor) {
        request.setAfterCursor(cursor);
        return this;
    }

    /** From the first event that was recorded at or after this time. */
    public Watch since(Instant time) {
        var at = Timestamp.newBuilder().setSeconds(time.getEpochSecond()).setNanos(time.getNano());
        request.setStartTime(at);
        return this;
    }

    /** From the oldest event that is still kept. */
    public Watch earliest() {
        request.setStartAt(StartAt.START_AT_EARLIEST);
        return this;
    }

    /**
     * From where this subscription stands. It acknowledges an event when the next one is asked
     * for, so that one which was not dealt with comes again after a crash.
     */
    public Watch subscription(String subscriptionId) {
        request.setSubscriptionId(subscriptionId);
        return this;
    }

    /** The longest silence wanted, 1 s to 5 min: 15 s, unless said otherwise. */
    public Watch heartbeat(Duration interval) {
        heartbeat = new Heartbeat(interval);
        return this;
    }

    /** Tells of each retry. */
    public Watch onRetry(RetryListener listener) {
        retryListener = listener;
        return this;
    }

    /**
     * Tells of each place that was reached with nothing left before it, also where nothing
     * matched: its cursor, to be saved. Whoever saves the cursors of events needs it only where
     * they are rare.
     */
    public Watch onPosition(Consumer<String> listener) {
        positionListener = listener;
        return this;
    }

    /**
     * Begins, for one thread that takes event by event.
     *
     * @throws IllegalArgumentException if there is a filter beside a subscription
     */
    public EventStream open() {
        return new EventStream(line, start(), retryListener, positionListener);
    }

    /**
     * Begins for each subscriber, on a thread of its own, when it subscribes. An event counts as
     * dealt with when the subscriber has returned.
     */
    public Flow.Publisher<Event> publisher() {
        var start = start();
        return new EventPublisher(
                () -> new EventStream(line, start, retryListener, positionListener));
    }

    private WatchEventsRequest start() {
        if (request.hasFilter() && request.hasSubscriptionId()) {
            throw new IllegalArgumentException("a subscription has a filter of its own: give none");
        }
        return request.setHeartbeatInterval(heartbeat.proto()).build();
    }
}
