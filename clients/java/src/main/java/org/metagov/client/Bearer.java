package org.metagov.client;

import io.grpc.Metadata;

/** The token as it is sent. */
final class Bearer {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private Bearer() {}

    /** The headers of every call; IllegalArgumentException, without it, if it may not be sent. */
    static Metadata headers(String token, Endpoint endpoint, boolean insecurePlaintext) {
        if (token.isEmpty() || !token.chars().allMatch(c -> c > ' ' && c < 0x7f)) {
            throw new IllegalArgumentException(
                    "METAGOV_TOKEN: a token is visible ASCII, without spaces and line breaks");
        }
        if (!endpoint.isSafe() && !insecurePlaintext) {
            throw new IllegalArgumentException(
                    "METAGOV_TOKEN: is not sent over http to another machine, since it could be "
                            + "read on the way; use https://, or a tunnel, or say "
                            + "METAGOV_INSECURE_PLAINTEXT=true");
        }
        var headers = new Metadata();
        headers.put(AUTHORIZATION, "Bearer " + token);
        return headers;
    }
}
