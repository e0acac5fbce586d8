package org.metagov.client;

import java.util.concurrent.CancellationException;
import java.util.concurrent.Flow;
import java.util.function.Supplier;
import org.metagov.v1.Event;

/** Hands out events as they are asked for. */
final class EventPublisher implements Flow.Publisher<Event> {
    private final Supplier<EventStream> streams;

    EventPublisher(Supplier<EventStream> streams) {
        this.streams = streams;
    }

    @Override
    public void subscribe(Flow.Subscriber<? super Event> subscriber) {
        var reading = new Reading(streams.get(), subscriber);
        var thread = new Thread(reading, "metagov-events");
        thread.setDaemon(true);
        thread.start();
    }

    /** What goes on for one subscriber. */
    private static final class Reading implements Runnable, Flow.Subscription {
        private final EventStream stream;
        private final Flow.Subscriber<? super Event> subscriber;
        private long demand;
        private boolean cancelled;

        Reading(EventStream stream, Flow.Subscriber<? super Event> subscriber) {
            this.stream = stream;
            this.subscriber = subscriber;
        }

        @Override
        public void run() {
            subscriber.onSubscribe(this);
            try (stream) {
                while (isWanted() && stream.hasNext()) {
                    subscriber.onNext(stream.next());
                }
            } catch (RuntimeException fault) {
                subscriber.onError(fault);
                return;
            }
            if (!isCancelled()) {
                // The client was closed.
                subscriber.onComplete();
            }
        }

        @Override
        public synchronized void request(long count) {
            if (count <= 0) {
                cancel();
                subscriber.onError(new IllegalArgumentException("request: asks for none"));
            }
            var sum = demand + Math.max(count, 0);
            // So many that it has overflowed are as good as without end.
            demand = sum < 0 ? Long.MAX_VALUE : sum;
            notifyAll();
        }

        @Override
        public synchronized void cancel() {
            cancelled = true;
            stream.close();
            notifyAll();
        }

        private synchronized boolean isCancelled() {
            return cancelled;
        }

        /** Waits until an event is asked for; false once none is any more. */
        private synchronized boolean isWanted() {
            try {
                while (demand == 0 && !cancelled) {
                    wait();
                }
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                throw new CancellationException("interrupted");
            }
            demand -= cancelled ? 0 : 1;
            return !cancelled;
        }
    }
}
