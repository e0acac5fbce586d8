package org.metagov.client;

import java.time.Duration;

/** Told of each retry, such as for a log. */
@FunctionalInterface
public interface RetryListener {
    /** The connection failed like this, and is tried again after that. */
    void onRetry(MetagovError error, Duration delay);
}
