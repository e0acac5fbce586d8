package org.metagov.client;

import io.grpc.ConnectivityState;
import io.grpc.ManagedChannel;
import io.grpc.Status.Code;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** The connection, and what goes on over it until it is closed. */
final class Line implements AutoCloseable {
    private final ManagedChannel channel;
    private final Set<Retrying> users = ConcurrentHashMap.newKeySet();

    Line(ManagedChannel channel) {
        this.channel = channel;
    }

    ManagedChannel channel() {
        return channel;
    }

    /**
     * Has the next call try to connect: at once, however long the channel meant to wait, and anew
     * if the connection fell silent, since it may be dead. Other calls go on as they are.
     */
    void renew(MetagovError error) {
        var silent = error.code() == Code.DEADLINE_EXCEEDED;
        if (silent || channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
            channel.enterIdle();
        }
    }

    /** Closes this user, too, once the line is closed. */
    void enter(Retrying user) {
        users.add(user);
        if (channel.isShutdown()) {
            user.close();
        }
    }

    void leave(Retrying user) {
        users.remove(user);
    }

    @Override
    public void close() {
        channel.shutdownNow();
        users.forEach(Retrying::close);
        try {
            channel.awaitTermination(5, TimeUnit.SECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
