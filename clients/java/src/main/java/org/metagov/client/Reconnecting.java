package org.metagov.client;

import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Supplier;

/** A stream that is opened again when it breaks, ends, or falls silent. */
final class Reconnecting<Q, R> implements AutoCloseable {
    private final Line line;
    private final MethodDescriptor<Q, R> method;
    private final Supplier<Q> request;
    private final Duration patience;
    private final Retrying retrying;
    // Null while there is none.
    private Pull<Q, R> pull;

    /**
     * Each time it is opened, it asks for a new request.
     *
     * @param patience the silence after which a stream is given up
     * @param deadline when all is given up; null for never
     */
    Reconnecting(
            Line line,
            MethodDescriptor<Q, R> method,
            Supplier<Q> request,
            Duration patience,
            RetryListener listener,
            Deadline deadline) {
        this.line = line;
        this.method = method;
        this.request = request;
        this.patience = patience;
        retrying = new Retrying(line, listener, deadline);
    }

    /** The next message; empty once this is closed. See {@link Retrying#run} for errors. */
    Optional<R> next() {
        return retrying.run(this::attempt);
    }

    /** For another call that shall succeed in between. */
    Retrying retrying() {
        return retrying;
    }

    @Override
    public void close() {
        retrying.close();
        drop();
    }

    private R attempt() throws InterruptedException {
        var open = open();
        try {
            return open.next(retrying.within(patience));
        } catch (StatusRuntimeException | InterruptedException fault) {
            drop();
            throw fault;
        }
    }

    private synchronized Pull<Q, R> open() {
        if (pull == null) {
            pull = new Pull<>(line.channel(), method, request.get());
        }
        if (retrying.isClosed()) {
            // It came too late to be dropped by whoever closed this.
            pull.close();
        }
        return pull;
    }

    private synchronized void drop() {
        if (pull != null) {
            pull.close();
            pull = null;
        }
    }
}
