package org.metagov.client;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** How long to wait: twice as long each time, until something has come. */
final class Backoff {
    private static final Duration SHORTEST = Duration.ofMillis(100);
    private static final Duration LONGEST = Duration.ofSeconds(10);

    private Duration wait = SHORTEST;

    /** Something has come. */
    void reset() {
        wait = SHORTEST;
    }

    /** How long to wait now: no less than the gateway asks for. */
    Duration next(MetagovError error) {
        var share = ThreadLocalRandom.current().nextDouble(0.5, 1.0);
        var delay = Duration.ofNanos((long) (wait.toNanos() * share));
        var doubled = wait.multipliedBy(2);
        wait = doubled.compareTo(LONGEST) < 0 ? doubled : LONGEST;
        return error.retryDelay().filter(least -> least.compareTo(delay) > 0).orElse(delay);
    }
}
