package org.metagov.client;

import io.grpc.Channel;
import java.time.Duration;
import org.metagov.v1.AccessServiceGrpc;
import org.metagov.v1.AccessServiceGrpc.AccessServiceBlockingStub;
import org.metagov.v1.ActionServiceGrpc;
import org.metagov.v1.ActionServiceGrpc.ActionServiceBlockingStub;
import org.metagov.v1.CommunityServiceGrpc;
import org.metagov.v1.CommunityServiceGrpc.CommunityServiceBlockingStub;
import org.metagov.v1.EventServiceGrpc;
import org.metagov.v1.EventServiceGrpc.EventServiceBlockingStub;
import org.metagov.v1.IdentityServiceGrpc;
import org.metagov.v1.IdentityServiceGrpc.IdentityServiceBlockingStub;
import org.metagov.v1.PluginServiceGrpc;
import org.metagov.v1.PluginServiceGrpc.PluginServiceBlockingStub;
import org.metagov.v1.Process;
import org.metagov.v1.ProcessServiceGrpc;
import org.metagov.v1.ProcessServiceGrpc.ProcessServiceBlockingStub;
import org.metagov.v1.SubscriptionServiceGrpc;
import org.metagov.v1.SubscriptionServiceGrpc.SubscriptionServiceBlockingStub;

/**
 * A connection to a gateway: a stub for each service, and the helpers.
 *
 * <p>One is enough for a program: it may be used by many threads at once, and connects again
 * by itself. Calls throw {@link io.grpc.StatusRuntimeException}, which {@link
 * MetagovError#of} reads. Closing it ends its calls and its streams.
 */
public final class Metagov implements AutoCloseable {
    private final Line line;

    Metagov(Line line) {
        this.line = line;
    }

    /**
     * Connects as the environment says: METAGOV_ENDPOINT, METAGOV_TOKEN, METAGOV_CA and
     * METAGOV_INSECURE_PLAINTEXT. The gateway is called with the first call, not before.
     *
     * @throws IllegalArgumentException if one of them does not fit; it names the variable
     */
    public static Metagov connect() {
        return builder().connect();
    }

    /** To connect otherwise than the environment says. */
    public static MetagovBuilder builder() {
        return new MetagovBuilder(System.getenv());
    }

    /** Tokens and the audit. */
    public AccessServiceBlockingStub access() {
        return AccessServiceGrpc.newBlockingStub(channel());
    }

    /** What is done on platforms at once. */
    public ActionServiceBlockingStub actions() {
        return ActionServiceGrpc.newBlockingStub(channel());
    }

    /** The tenants. */
    public CommunityServiceBlockingStub communities() {
        return CommunityServiceGrpc.newBlockingStub(channel());
    }

    /** The log of all that happens; {@link #watch} is easier. */
    public EventServiceBlockingStub events() {
        return EventServiceGrpc.newBlockingStub(channel());
    }

    /** Who is who on the platforms. */
    public IdentityServiceBlockingStub identities() {
        return IdentityServiceGrpc.newBlockingStub(channel());
    }

    /** What the gateway knows, and what communities have enabled. */
    public PluginServiceBlockingStub plugins() {
        return PluginServiceGrpc.newBlockingStub(channel());
    }

    /** Decisions that take a while. */
    public ProcessServiceBlockingStub processes() {
        return ProcessServiceGrpc.newBlockingStub(channel());
    }

    /** Cursors that the gateway keeps. */
    public SubscriptionServiceBlockingStub subscriptions() {
        return SubscriptionServiceGrpc.newBlockingStub(channel());
    }

    /** The stubs of the same services that do not wait. */
    public AsyncStubs async() {
        return new AsyncStubs(channel());
    }

    /** For other kinds of stubs, such as those of futures. It sends the token. */
    public Channel channel() {
        return line.channel();
    }

    /** Reads events as they happen, over broken connections; see {@link Watch}. */
    public Watch watch() {
        return new Watch(line);
    }

    /**
     * Waits until a process is COMPLETED, CANCELLED or FAILED, over broken connections.
     *
     * @return the process as it ended
     * @throws io.grpc.StatusRuntimeException if it cannot be watched, such as NOT_FOUND, or
     *     with CANCELLED once this is closed or the thread is interrupted
     */
    public Process waitForProcess(String processId) {
        return new ProcessWait(line, processId, null).await();
    }

    /**
     * Waits as {@link #waitForProcess(String)} does, and no longer than this.
     *
     * @throws io.grpc.StatusRuntimeException also with DEADLINE_EXCEEDED, if it takes longer
     */
    public Process waitForProcess(String processId, Duration timeout) {
        return new ProcessWait(line, processId, timeout).await();
    }

    /** Ends all calls and streams, and the connection. */
    @Override
    public void close() {
        line.close();
    }
}
