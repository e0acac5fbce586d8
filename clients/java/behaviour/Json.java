import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonParseException;
import com.google.gson.Strictness;
import com.google.gson.ToNumberStrategy;
import java.math.BigInteger;
import java.util.Map;

/** JSON as maps and lists, with whole numbers that stay whole, however large. */
final class Json {
    private static final ToNumberStrategy NUMBERS = reader -> number(reader.nextString());

    private static final Gson GSON =
            new GsonBuilder()
                    .setStrictness(Strictness.STRICT)
                    .setObjectToNumberStrategy(NUMBERS)
                    .serializeNulls()
                    .disableHtmlEscaping()
                    .create();

    private Json() {}

    static Map<?, ?> object(String text) {
        try {
            return GSON.fromJson(text, Map.class);
        } catch (JsonParseException none) {
            throw new IllegalArgumentException("this is no object of JSON", none);
        }
    }

    static String text(Object value) {
        return GSON.toJson(value);
    }

    private static Number number(String text) {
        if (text.matches("-?[0-9]+")) {
            return new BigInteger(text);
        }
        return Double.valueOf(text);
    }
}
