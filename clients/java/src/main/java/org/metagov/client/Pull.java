package org.metagov.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * A stream of a gateway, message by message. The next one is asked for when one was taken: a
 * slow reader holds one at most.
 */
final class Pull<Q, R> implements ClientResponseObserver<Q, R>, AutoCloseable {
    /** A message, or, without one, how the stream ended. */
    private record Signal<R>(R message, StatusRuntimeException end) {}

    private final BlockingQueue<Signal<R>> signals = new LinkedBlockingQueue<>();
    private ClientCallStreamObserver<Q> call;

    Pull(Channel channel, MethodDescriptor<Q, R> method, Q request) {
        ClientCalls.asyncServerStreamingCall(
                channel.newCall(method, CallOptions.DEFAULT), request, this);
    }

    /**
     * Waits for the next message.
     *
     * @throws StatusRuntimeException if the stream ends, in whatever way, or nothing comes
     */
    R next(Duration patience) throws InterruptedException {
        var signal = signals.poll(patience.toNanos(), TimeUnit.NANOSECONDS);
        if (signal == null) {
            throw Status.DEADLINE_EXCEEDED
                    .withDescription("nothing was heard for " + patience.toMillis() + " ms")
                    .asRuntimeException();
        }
        if (signal.end() != null) {
            throw signal.end();
        }
        call.request(1);
        return signal.message();
    }

    @Override
    public void close() {
        call.cancel("closed by the caller", null);
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<Q> call) {
        this.call = call;
        call.disableAutoRequestWithInitial(1);
    }

    @Override
    public void onNext(R message) {
        signals.add(new Signal<>(message, null));
    }

    @Override
    public void onError(Throwable error) {
        var status = Status.fromThrowable(error);
        signals.add(
                new Signal<>(
                        null, status.asRuntimeException(Status.trailersFromThrowable(error))));
    }

    @Override
    public void onCompleted() {
        var end = Status.UNAVAILABLE.withDescription("the gateway ended the stream");
        signals.add(new Signal<>(null, end.asRuntimeException()));
    }
}
