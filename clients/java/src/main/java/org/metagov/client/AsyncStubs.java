package org.metagov.client;

import io.grpc.Channel;
import org.metagov.v1.AccessServiceGrpc;
import org.metagov.v1.AccessServiceGrpc.AccessServiceStub;
import org.metagov.v1.ActionServiceGrpc;
import org.metagov.v1.ActionServiceGrpc.ActionServiceStub;
import org.metagov.v1.CommunityServiceGrpc;
import org.metagov.v1.CommunityServiceGrpc.CommunityServiceStub;
import org.metagov.v1.EventServiceGrpc;
import org.metagov.v1.EventServiceGrpc.EventServiceStub;
import org.metagov.v1.IdentityServiceGrpc;
import org.metagov.v1.IdentityServiceGrpc.IdentityServiceStub;
import org.metagov.v1.PluginServiceGrpc;
import org.metagov.v1.PluginServiceGrpc.PluginServiceStub;
import org.metagov.v1.ProcessServiceGrpc;
import org.metagov.v1.ProcessServiceGrpc.ProcessServiceStub;
import org.metagov.v1.SubscriptionServiceGrpc;
import org.metagov.v1.SubscriptionServiceGrpc.SubscriptionServiceStub;

/** The stubs that answer an {@link io.grpc.stub.StreamObserver}; see {@link Metagov#async}. */
public final class AsyncStubs {
    private final Channel channel;

    AsyncStubs(Channel channel) {
        this.channel = channel;
    }

    /** Tokens and the audit. */
    public AccessServiceStub access() {
        return AccessServiceGrpc.newStub(channel);
    }

    /** What is done on platforms at once. */
    public ActionServiceStub actions() {
        return ActionServiceGrpc.newStub(channel);
    }

    /** The tenants. */
    public CommunityServiceStub communities() {
        return CommunityServiceGrpc.newStub(channel);
    }

    /** The log of all that happens; {@link Watch#publisher} is easier. */
    public EventServiceStub events() {
        return EventServiceGrpc.newStub(channel);
    }

    /** Who is who on the platforms. */
    public IdentityServiceStub identities() {
        return IdentityServiceGrpc.newStub(channel);
    }

    /** What the gateway knows, and what communities have enabled. */
    public PluginServiceStub plugins() {
        return PluginServiceGrpc.newStub(channel);
    }

    /** Decisions that take a while. */
    public ProcessServiceStub processes() {
        return ProcessServiceGrpc.newStub(channel);
    }

    /** Cursors that the gateway keeps. */
    public SubscriptionServiceStub subscriptions() {
        return SubscriptionServiceGrpc.newStub(channel);
    }
}
