import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.metagov.client.Metagov;
import org.metagov.client.MetagovError;
import org.metagov.client.Watch;
import org.metagov.v1.Event;
import org.metagov.v1.EventFilter;
import sun.misc.Signal;

/** Prints events as they come. */
final class Watching {
    private final Watch watch;
    private boolean ready;

    private Watching(Watch watch) {
        this.watch = watch.onRetry(Watching::retry).onPosition(this::ready);
    }

    static void events(Metagov metagov, Arguments arguments) {
        var watch = metagov.watch();
        arguments.option("--after").ifPresent(watch::after);
        if (arguments.flag("--earliest")) {
            watch.earliest();
        }
        arguments
                .option("--community")
                .map(id -> EventFilter.newBuilder().addCommunityIds(id).build())
                .ifPresent(watch::filter);
        arguments.seconds("--heartbeat").ifPresent(watch::heartbeat);
        new Watching(watch).print(arguments);
    }

    static void subscription(Metagov metagov, Arguments arguments) {
        new Watching(metagov.watch().subscription(arguments.next())).print(arguments);
    }

    static void cancel(Metagov metagov) {
        var ready = new CountDownLatch(1);
        var stream = metagov.watch().onPosition(cursor -> ready.countDown()).open();
        var reader = new Thread(() -> stream.forEachRemaining(Watching::event));
        reader.start();
        try {
            ready.await();
            stream.close();
            reader.join();
        } catch (InterruptedException impossible) {
            throw new IllegalStateException(impossible);
        }
        Print.line(Map.of("cancelled", true));
    }

    private void print(Arguments arguments) {
        var count = arguments.option("--count").map(Long::valueOf).orElse(Long.MAX_VALUE);
        try (var stream = watch.open()) {
            Signal.handle(new Signal("TERM"), signal -> stream.close());
            for (var left = count; left > 0 && stream.hasNext(); left--) {
                var event = stream.next();
                ready(event.getCursor());
                event(event);
            }
        }
    }

    private void ready(String cursor) {
        if (!ready) {
            ready = true;
            Print.line(Map.of("ready", true, "cursor", cursor));
        }
    }

    private static void retry(MetagovError error, Duration delay) {
        var retry = Map.of("code", error.code().name(), "delay", Print.seconds(delay));
        Print.line(Map.of("retry", retry));
    }

    private static void event(Event event) {
        Print.line(
                Map.of(
                        "event_id", event.getEventId(),
                        "cursor", event.getCursor(),
                        "kind", kind(event)));
    }

    /** The name of the payload's field; empty if it is unset. */
    private static String kind(Event event) {
        var payload = Event.getDescriptor().getOneofs().get(0);
        var field = event.getOneofFieldDescriptor(payload);
        return field == null ? "" : field.getName();
    }
}
