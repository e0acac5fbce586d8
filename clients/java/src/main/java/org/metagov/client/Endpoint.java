package org.metagov.client;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.regex.Pattern;

/** Where a gateway is. */
record Endpoint(boolean secure, String host, int port) {
    /** Scheme, host and port, and nothing else: a path or a user would be left out of calls. */
    private static final Pattern URL =
            Pattern.compile("(https?)://(\\[[0-9a-fA-F:.]+]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?");

    private static final Pattern NUMERIC = Pattern.compile("\\[.*]|[0-9.]+");

    /** Reads a URL; IllegalArgumentException, without repeating it, if it is none. */
    static Endpoint parse(String url) {
        var parts = URL.matcher(url);
        if (!parts.matches()) {
            throw noAddress();
        }
        var secure = parts.group(1).equals("https");
        var usual = secure ? 443 : 80;
        var port = parts.group(3) == null ? usual : Integer.parseInt(parts.group(3));
        if (port < 1 || port > 65535) {
            throw noAddress();
        }
        return new Endpoint(secure, parts.group(2), port);
    }

    /** Whether it is this machine. */
    boolean isLoopback() {
        if (!NUMERIC.matcher(host).matches()) {
            return host.equalsIgnoreCase("localhost");
        }
        try {
            return InetAddress.getByName(host).isLoopbackAddress();
        } catch (UnknownHostException none) {
            return false;
        }
    }

    /** Whether nobody can listen in. */
    boolean isSafe() {
        return secure || isLoopback();
    }

    private static IllegalArgumentException noAddress() {
        return new IllegalArgumentException(
                "METAGOV_ENDPOINT: is no address such as http://127.0.0.1:50051");
    }
}
