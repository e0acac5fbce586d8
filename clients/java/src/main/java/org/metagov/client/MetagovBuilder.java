package org.metagov.client;

import static java.util.Optional.ofNullable;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/** How to connect. What is not said here, the environment says. */
public final class MetagovBuilder {
    private static final String DEFAULT_ENDPOINT = "http://127.0.0.1:50051";

    /** The largest message and the largest header that are taken, in bytes. */
    private static final int MAX_MESSAGE = 64 << 20;
    private static final int MAX_METADATA = 1 << 20;

    private String endpoint;
    private String token;
    private Path ca;
    private boolean insecurePlaintext;

    MetagovBuilder(Map<String, String> environment) {
        endpoint = given(environment, "METAGOV_ENDPOINT", DEFAULT_ENDPOINT);
        token = given(environment, "METAGOV_TOKEN", null);
        ca = ofNullable(given(environment, "METAGOV_CA", null)).map(Path::of).orElse(null);
        insecurePlaintext = "true".equals(environment.get("METAGOV_INSECURE_PLAINTEXT"));
    }

    /** Where the gateway is: http://host:port, or https:// with TLS. Else METAGOV_ENDPOINT. */
    public MetagovBuilder endpoint(String endpoint) {
        this.endpoint = endpoint;
        return this;
    }

    /** The token that is sent with every call; null for none. Else METAGOV_TOKEN. */
    public MetagovBuilder token(String token) {
        this.token = token;
        return this;
    }

    /** A PEM file of who vouches for the gateway's certificate; null for the system's. */
    public MetagovBuilder ca(Path ca) {
        this.ca = ca;
        return this;
    }

    /** Whether the token is sent to another machine even without TLS, where it can be read. */
    public MetagovBuilder insecurePlaintext(boolean allowed) {
        insecurePlaintext = allowed;
        return this;
    }

    /**
     * Connects. The gateway is called with the first call, not before.
     *
     * @throws IllegalArgumentException if something does not fit; it names the variable
     */
    public Metagov connect() {
        var place = Endpoint.parse(endpoint);
        var channel = channelTo(place);
        if (token != null) {
            var headers = Bearer.headers(token, place, insecurePlaintext);
            channel.intercept(MetadataUtils.newAttachHeadersInterceptor(headers));
        }
        if (place.isLoopback()) {
            // A proxy of the environment is not meant for this machine.
            channel.proxyDetector(address -> null);
        }
        return new Metagov(new Line(channel.build()));
    }

    private ManagedChannelBuilder<?> channelTo(Endpoint place) {
        var credentials = place.secure() ? tls() : InsecureChannelCredentials.create();
        return Grpc.newChannelBuilderForAddress(place.host(), place.port(), credentials)
                .maxInboundMessageSize(MAX_MESSAGE)
                .maxInboundMetadataSize(MAX_METADATA)
                .disableServiceConfigLookUp();
    }

    private ChannelCredentials tls() {
        if (ca == null) {
            return TlsChannelCredentials.create();
        }
        try {
            return TlsChannelCredentials.newBuilder().trustManager(Pem.read(ca)).build();
        } catch (IOException unreadable) {
            var why = "METAGOV_CA: " + ca + ": cannot be read";
            throw new IllegalArgumentException(why, unreadable);
        }
    }

    private static String given(Map<String, String> environment, String name, String otherwise) {
        var value = environment.getOrDefault(name, "");
        return value.isEmpty() ? otherwise : value;
    }
}
