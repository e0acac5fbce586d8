package org.metagov.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class EndpointTest {
    @Test
    void aUrlIsReadInParts() {
        assertEquals(new Endpoint(false, "10.0.0.1", 5005), Endpoint.parse("http://10.0.0.1:5005"));
        assertEquals(new Endpoint(true, "a_b.org", 443), Endpoint.parse("https://a_b.org/"));
        assertEquals(new Endpoint(true, "[::1]", 1), Endpoint.parse("https://[::1]:1"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "", "localhost:50051", "ftp://a", "http://s3cret@a", "http://a/path", "http://a?q",
                "http://a:0", "http://a:70000", "http://a b", "HTTP://a", "http://"
            })
    void whatIsNoAddressIsRefusedAndNotRepeated(String url) {
        var fault = assertThrows(IllegalArgumentException.class, () -> Endpoint.parse(url));
        var expected = "METAGOV_ENDPOINT: is no address such as http://127.0.0.1:50051";
        assertEquals(expected, fault.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"localhost", "LocalHost", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]"})
    void thisMachineIsKnown(String host) {
        assertTrue(new Endpoint(false, host, 80).isLoopback());
    }

    @ParameterizedTest
    @ValueSource(strings = {"localhost.example", "10.0.0.1", "127.0.0.1.example", "[2001:db8::1]"})
    void otherMachinesAreNotThisOne(String host) {
        assertFalse(new Endpoint(false, host, 80).isLoopback());
    }

    @Test
    void aTokenIsNotSentWhereItCouldBeRead() {
        var elsewhere = Map.of("METAGOV_ENDPOINT", "http://10.0.0.1", "METAGOV_TOKEN", "s3cret");
        var builder = new MetagovBuilder(elsewhere);
        var refused = assertThrows(IllegalArgumentException.class, builder::connect);
        assertTrue(refused.getMessage().contains("METAGOV_INSECURE_PLAINTEXT"));
        assertFalse(refused.getMessage().contains("s3cret"));
        new MetagovBuilder(elsewhere).insecurePlaintext(true).connect().close();
        new MetagovBuilder(elsewhere).endpoint("https://10.0.0.1").connect().close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"s3cret\n", "s3 cret", "s3cretä"})
    void whatIsNoTokenIsRefusedAndNotRepeated(String token) {
        var builder = new MetagovBuilder(Map.of()).token(token);
        var refused = assertThrows(IllegalArgumentException.class, builder::connect);
        assertTrue(refused.getMessage().startsWith("METAGOV_TOKEN: "));
        assertFalse(refused.getMessage().contains("cret"));
    }
}
