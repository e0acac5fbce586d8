package org.metagov.client;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import org.metagov.v1.Event;

/** Asks for so many events, one by one, and tells when it has them. */
final class Taker implements Flow.Subscriber<Event> {
    private final int count;
    private final List<String> had;
    private final CompletableFuture<Flow.Subscription> done;
    private Flow.Subscription subscription;

    Taker(int count, List<String> had, CompletableFuture<Flow.Subscription> done) {
        this.count = count;
        this.had = had;
        this.done = done;
    }

    @Override
    public void onSubscribe(Flow.Subscription subscription) {
        this.subscription = subscription;
        subscription.request(1);
    }

    @Override
    public void onNext(Event event) {
        had.add(event.getEventId());
        if (had.size() == count) {
            done.complete(subscription);
        } else {
            subscription.request(1);
        }
    }

    @Override
    public void onError(Throwable fault) {
        done.completeExceptionally(fault);
    }

    @Override
    public void onComplete() {
        done.completeExceptionally(new IllegalStateException("it has ended"));
    }
}
