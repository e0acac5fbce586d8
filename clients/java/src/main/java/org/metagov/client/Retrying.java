package org.metagov.client;

import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Does things again until they succeed, or cannot. */
final class Retrying implements AutoCloseable {
    /** One try. */
    interface Attempt<T> {
        T run() throws InterruptedException;
    }

    private final Line line;
    private final RetryListener listener;
    // Null for none.
    private final Deadline deadline;
    private final Backoff backoff = new Backoff();
    private final CountDownLatch closed = new CountDownLatch(1);

    Retrying(Line line, RetryListener listener, Deadline deadline) {
        this.line = line;
        this.listener = listener;
        this.deadline = deadline;
        line.enter(this);
    }

    /**
     * The result of the first attempt that succeeds; empty once this is closed.
     *
     * @throws StatusRuntimeException if another attempt would not help, or the time is over
     */
    <T> Optional<T> run(Attempt<T> attempt) {
        while (!isClosed()) {
            try {
                var result = attempt.run();
                backoff.reset();
                return Optional.of(result);
            } catch (StatusRuntimeException fault) {
                pause(fault);
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                throw Status.CANCELLED.withDescription("interrupted").asRuntimeException();
            }
        }
        return Optional.empty();
    }

    /** Of this time, what is left until the deadline. */
    Duration within(Duration time) {
        if (deadline == null) {
            return time;
        }
        var left = Duration.ofNanos(Math.max(deadline.timeRemaining(TimeUnit.NANOSECONDS), 0));
        return left.compareTo(time) < 0 ? left : time;
    }

    boolean isClosed() {
        return closed.getCount() == 0;
    }

    @Override
    public void close() {
        closed.countDown();
        line.leave(this);
    }

    private void pause(StatusRuntimeException fault) {
        if (isClosed()) {
            return;
        }
        var error = MetagovError.of(fault);
        if (isOver() || !Faults.mayPass(error, fault)) {
            throw fault;
        }
        var delay = backoff.next(error);
        listener.onRetry(error, delay);
        sleep(within(delay));
        if (isOver()) {
            throw fault;
        }
        line.renew(error);
    }

    private boolean isOver() {
        return deadline != null && deadline.isExpired();
    }

    private void sleep(Duration delay) {
        try {
            // Nothing to do with the answer: whoever closes this cuts the wait short.
            closed.await(delay.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw Status.CANCELLED.withDescription("interrupted").asRuntimeException();
        }
    }
}
