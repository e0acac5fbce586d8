import java.time.Duration;
import java.util.List;
import java.util.Optional;

/** The words of a command that are left. */
final class Arguments {
    private final List<String> words;

    Arguments(List<String> words) {
        this.words = words;
    }

    String next() {
        if (words.isEmpty()) {
            throw new IllegalArgumentException("an argument is missing");
        }
        return words.remove(0);
    }

    boolean flag(String name) {
        return words.remove(name);
    }

    Optional<String> option(String name) {
        var at = words.indexOf(name);
        if (at < 0) {
            return Optional.empty();
        }
        words.remove(at);
        return Optional.of(words.remove(at));
    }

    Optional<Duration> seconds(String name) {
        return option(name)
                .map(text -> Duration.ofMillis((long) (Double.parseDouble(text) * 1000)));
    }
}
