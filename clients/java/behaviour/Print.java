import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.metagov.client.MetagovError;

/** Answers, each an object of JSON on a line. */
final class Print {
    private static final PrintStream OUT =
            new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Print() {}

    static void line(Map<String, ?> object) {
        OUT.println(Json.text(object));
    }

    static void error(MetagovError error) {
        var said = new LinkedHashMap<String, Object>();
        said.put("code", error.code().name());
        said.put("reason", error.reason());
        said.put("message", error.message());
        said.put("fields", error.fields());
        said.put("metadata", error.metadata());
        said.put("retry_delay", error.retryDelay().map(Print::seconds).orElse(null));
        said.put("advice", error.advice());
        line(Map.of("error", said));
    }

    static double seconds(Duration time) {
        return time.toNanos() / 1e9;
    }

    /** A map of one, whose value may be null. */
    static Map<String, Object> pair(String key, Object value) {
        return Collections.singletonMap(key, value);
    }
}
