package org.metagov.client;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.function.Consumer;
import org.metagov.v1.AcknowledgeEventsRequest;
import org.metagov.v1.AcknowledgeEventsResponse;
import org.metagov.v1.Event;
import org.metagov.v1.EventServiceGrpc;
import org.metagov.v1.SubscriptionServiceGrpc;
import org.metagov.v1.WatchEventsRequest;
import org.metagov.v1.WatchEventsResponse;

/**
 * Events without end, for one thread; see {@link Watch}. Any thread may close it, which ends it
 * at once.
 *
 * <p>The payload of an event is unset if the gateway is newer than this client.
 */
public final class EventStream implements Iterator<Event>, Iterable<Event>, AutoCloseable {
    /** How long an acknowledgement may take before it is tried again. */
    private static final Duration ACKNOWLEDGE = Duration.ofSeconds(10);

    private final Line line;
    private final WatchEventsRequest start;
    private final Consumer<String> positionListener;
    private final Reconnecting<WatchEventsRequest, WatchEventsResponse> responses;
    private final Queue<Event> atHand = new ArrayDeque<>();
    // The place after all that is at hand; empty until anything was heard.
    private String reached = "";
    // Whether that place is handed out.
    private boolean settled = true;
    // What a subscription is to acknowledge before anything else is handed out.
    private String unacknowledged = "";
    private volatile String cursor;

    EventStream(
            Line line,
            WatchEventsRequest start,
            RetryListener retryListener,
            Consumer<String> positionListener) {
        this.line = line;
        this.start = start;
        this.positionListener = positionListener;
        cursor = start.getAfterCursor();
        responses =
                new Reconnecting<>(
                        line,
                        EventServiceGrpc.getWatchEventsMethod(),
                        this::request,
                        Heartbeat.of(start.getHeartbeatInterval()).patience(),
                        retryListener,
                        null);
    }

    /** The place that was reached: pass it to {@link Watch#after} later. Empty in the beginning. */
    public String cursor() {
        return cursor;
    }

    /**
     * Waits for the next event. False once the stream is closed.
     *
     * @throws io.grpc.StatusRuntimeException if it cannot go on
     */
    @Override
    public boolean hasNext() {
        settle();
        while (atHand.isEmpty() && !isClosed()) {
            responses.next().ifPresent(this::take);
            settle();
        }
        return !isClosed();
    }

    /**
     * Waits for the next event and hands it out.
     *
     * @throws NoSuchElementException once the stream is closed
     * @throws io.grpc.StatusRuntimeException if it cannot go on
     */
    @Override
    public Event next() {
        if (!hasNext()) {
            throw new NoSuchElementException("the stream is closed");
        }
        var event = atHand.remove();
        cursor = event.getCursor();
        unacknowledged = cursor;
        return event;
    }

    /**
     * Tells the subscription, if there is one, that all that was handed out is dealt with. The
     * next event does so, too: this is for the last one before the stream is closed.
     */
    public void acknowledge() {
        if (start.hasSubscriptionId() && !unacknowledged.isEmpty()) {
            responses.retrying().run(this::tell);
        }
        unacknowledged = "";
    }

    /** This. */
    @Override
    public Iterator<Event> iterator() {
        return this;
    }

    /** Ends it. What was handed out last is not acknowledged by that. */
    @Override
    public void close() {
        responses.close();
    }

    private void take(WatchEventsResponse response) {
        atHand.addAll(response.getEventsList());
        reached = response.getCursor();
        settled = false;
        if (atHand.isEmpty() && !reached.equals(cursor)) {
            // A subscription that seldom has an event would else grow older than the log.
            unacknowledged = reached;
        }
    }

    private void settle() {
        acknowledge();
        if (atHand.isEmpty() && !settled) {
            settled = true;
            cursor = reached;
            positionListener.accept(cursor);
        }
    }

    private AcknowledgeEventsResponse tell() {
        var request =
                AcknowledgeEventsRequest.newBuilder()
                        .setSubscriptionId(start.getSubscriptionId())
                        .setCursor(unacknowledged);
        return SubscriptionServiceGrpc.newBlockingStub(line.channel())
                .withDeadlineAfter(ACKNOWLEDGE)
                .acknowledgeEvents(request.build());
    }

    /** What to ask for: to begin with the start, then on from where it came to. */
    private WatchEventsRequest request() {
        // The gateway keeps the place of a subscription.
        return reached.isEmpty() || start.hasSubscriptionId()
                ? start
                : start.toBuilder().setAfterCursor(reached).build();
    }

    private boolean isClosed() {
        return responses.retrying().isClosed();
    }
}
