package org.metagov.client;

import java.time.Duration;

/** The longest silence that is wanted of a gateway. */
record Heartbeat(Duration interval) {
    static final Heartbeat USUAL = new Heartbeat(Duration.ofSeconds(15));

    static Heartbeat of(com.google.protobuf.Duration interval) {
        return new Heartbeat(Duration.ofSeconds(interval.getSeconds(), interval.getNanos()));
    }

    /** The silence after which the connection is as good as broken. */
    Duration patience() {
        return interval.multipliedBy(2).plusSeconds(5);
    }

    com.google.protobuf.Duration proto() {
        return com.google.protobuf.Duration.newBuilder()
                .setSeconds(interval.getSeconds())
                .setNanos(interval.getNano())
                .build();
    }
}
