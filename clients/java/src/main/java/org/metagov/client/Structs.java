package org.metagov.client;

import com.google.protobuf.ListValue;
import com.google.protobuf.NullValue;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Maps and lists ⇄ {@code google.protobuf.Struct}, with whole numbers that stay whole.
 *
 * <p>A Struct has doubles only. Whole ones up to 2^53, where a double is still exact, come back
 * as {@link Long}; larger integers are refused, since they would be changed: send those as
 * strings.
 */
public final class Structs {
    /** Up to here every whole number is a double. */
    private static final long LARGEST = 1L << 53;

    private Structs() {}

    /**
     * Makes a Struct of a map of null, Boolean, Number, String, List and Map.
     *
     * @throws IllegalArgumentException if a value has no place in one: an integer beyond 2^53,
     *     NaN, infinity, a key that is no String, or what is not of JSON; it names the path
     */
    public static Struct toStruct(Map<?, ?> fields) {
        return struct(fields, "");
    }

    /** Makes a map of a Struct; whole numbers are Long, others Double. */
    public static Map<String, Object> fromStruct(Struct struct) {
        var fields = new LinkedHashMap<String, Object>();
        struct.getFieldsMap().forEach((key, value) -> fields.put(key, fromValue(value)));
        return fields;
    }

    /** Makes a Value of anything of JSON, as {@link #toStruct} does. */
    public static Value toValue(Object value) {
        return value(value, "");
    }

    /** Makes a thing of JSON of a Value, such as an action's result. */
    public static Object fromValue(Value value) {
        return switch (value.getKindCase()) {
            case STRUCT_VALUE -> fromStruct(value.getStructValue());
            case LIST_VALUE -> list(value.getListValue());
            case NUMBER_VALUE -> number(value.getNumberValue());
            case STRING_VALUE -> value.getStringValue();
            case BOOL_VALUE -> value.getBoolValue();
            case NULL_VALUE, KIND_NOT_SET -> null;
        };
    }

    private static List<Object> list(ListValue list) {
        var items = new ArrayList<Object>();
        list.getValuesList().forEach(item -> items.add(fromValue(item)));
        return items;
    }

    private static Number number(double number) {
        if (Math.rint(number) == number && Math.abs(number) <= LARGEST) {
            return (long) number;
        }
        return number;
    }

    private static Struct struct(Map<?, ?> fields, String path) {
        var struct = Struct.newBuilder();
        fields.forEach(
                (key, value) -> {
                    if (!(key instanceof String name)) {
                        throw wrong(path, "has a key that is no string");
                    }
                    struct.putFields(name, value(value, path.isEmpty() ? name : path + "/" + name));
                });
        return struct.build();
    }

    private static Value value(Object value, String path) {
        var made = Value.newBuilder();
        if (value == null) {
            made.setNullValue(NullValue.NULL_VALUE);
        } else if (value instanceof Boolean flag) {
            made.setBoolValue(flag);
        } else if (value instanceof Number number) {
            made.setNumberValue(exact(number, path));
        } else if (value instanceof String text) {
            made.setStringValue(text);
        } else if (value instanceof Map<?, ?> fields) {
            made.setStructValue(struct(fields, path));
        } else if (value instanceof List<?> items) {
            made.setListValue(list(items, path));
        } else {
            throw wrong(path, "is nothing of JSON, but a " + value.getClass().getName());
        }
        return made.build();
    }

    private static ListValue list(List<?> items, String path) {
        var list = ListValue.newBuilder();
        for (var item : items) {
            list.addValues(value(item, path + "/" + list.getValuesCount()));
        }
        return list.build();
    }

    private static double exact(Number number, String path) {
        var fraction =
                number instanceof Double || number instanceof Float || number instanceof BigDecimal;
        if (!fraction && isTooLarge(new BigInteger(number.toString()))) {
            throw wrong(path, "is larger than 2^53; send it as a string");
        }
        if (!Double.isFinite(number.doubleValue())) {
            throw wrong(path, "is no finite number");
        }
        return number.doubleValue();
    }

    private static boolean isTooLarge(BigInteger whole) {
        return whole.abs().compareTo(BigInteger.valueOf(LARGEST)) > 0;
    }

    private static IllegalArgumentException wrong(String path, String why) {
        return new IllegalArgumentException((path.isEmpty() ? "the value" : path) + ": " + why);
    }
}
