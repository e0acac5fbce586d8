package org.metagov.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigInteger;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class StructsTest {
    @Test
    void whatGoesInComesBack() {
        var fields =
                Map.of(
                        "whole", 3L,
                        "largest", -(1L << 53),
                        "fraction", 0.1,
                        "huge", 1e300,
                        "flag", true,
                        "list", Arrays.asList(1L, null, "two"),
                        "map", Map.of("empty", Map.of(), "text", "ü"));
        assertEquals(fields, Structs.fromStruct(Structs.toStruct(fields)));
    }

    @Test
    void wholeNumbersComeBackAsLong() {
        for (var number : List.of(3, (short) 3, 3.0, 3f, BigInteger.valueOf(3))) {
            assertEquals(3L, Structs.fromValue(Structs.toValue(number)));
        }
    }

    static Stream<Object> unfit() {
        return Stream.of(
                (1L << 53) + 1, BigInteger.TEN.pow(30), Double.NaN, Float.NEGATIVE_INFINITY,
                new Object(), Map.of(1, 2));
    }

    @ParameterizedTest
    @MethodSource("unfit")
    void whatHasNoPlaceIsRefusedByItsPath(Object value) {
        var fields = Map.of("a", List.of(0, value));
        var fault = assertThrows(IllegalArgumentException.class, () -> Structs.toStruct(fields));
        assertTrue(fault.getMessage().startsWith("a/1: "), fault.getMessage());
    }

    @Test
    void howToSendALargeIntegerIsSaid() {
        var fault = assertThrows(IllegalArgumentException.class, () -> Structs.toValue(1L << 60));
        assertEquals("the value: is larger than 2^53; send it as a string", fault.getMessage());
    }
}
