import java.util.ArrayList;
import java.util.Arrays;
import java.util.Map;
import org.metagov.client.Metagov;
import org.metagov.client.MetagovError;
import org.metagov.client.Structs;
import org.metagov.v1.GetCommunityRequest;
import org.metagov.v1.PerformActionRequest;
import org.metagov.v1.Process;

/** What the table of behaviours asks of every client: {@code VERB ARG…}, answered in JSON. */
final class Behaviour {
    private Behaviour() {}

    public static void main(String[] words) {
        try {
            var arguments = new ArrayList<>(Arrays.asList(words));
            run(arguments.remove(0), new Arguments(arguments));
        } catch (RuntimeException fault) {
            Print.error(MetagovError.of(fault));
            System.exit(1);
        }
    }

    private static void run(String verb, Arguments arguments) {
        if (verb.equals("struct")) {
            struct(arguments.next());
            return;
        }
        try (var metagov = Metagov.connect()) {
            switch (verb) {
                case "watch" -> Watching.events(metagov, arguments);
                case "watch-subscription" -> Watching.subscription(metagov, arguments);
                case "cancel" -> Watching.cancel(metagov);
                case "wait" -> await(metagov, arguments);
                case "perform" -> perform(metagov, arguments);
                case "get-community" -> community(metagov, arguments.next());
                default -> throw new IllegalArgumentException(verb + ": is no verb");
            }
        }
    }

    private static void struct(String text) {
        var wire = Structs.toStruct(Json.object(text)).toByteString();
        try {
            var back = com.google.protobuf.Struct.parseFrom(wire);
            Print.line(Map.of("struct", Structs.fromStruct(back)));
        } catch (com.google.protobuf.InvalidProtocolBufferException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private static void await(Metagov metagov, Arguments arguments) {
        var id = arguments.next();
        var timeout = arguments.seconds("--timeout");
        var process =
                timeout.isPresent()
                        ? metagov.waitForProcess(id, timeout.get())
                        : metagov.waitForProcess(id);
        Print.line(
                Map.of(
                        "state", state(process),
                        "leading", process.getTally().getLeadingOptionsList(),
                        "outcome", Structs.fromStruct(process.getOutcome())));
    }

    private static String state(Process process) {
        return process.getState().name().replace("PROCESS_STATE_", "");
    }

    private static void perform(Metagov metagov, Arguments arguments) {
        var request =
                PerformActionRequest.newBuilder()
                        .setCommunityId(arguments.next())
                        .setAction(arguments.next())
                        .setParameters(Structs.toStruct(Json.object(arguments.next())));
        var result = metagov.actions().performAction(request.build()).getResult();
        Print.line(Print.pair("result", Structs.fromValue(result)));
    }

    private static void community(Metagov metagov, String id) {
        var request = GetCommunityRequest.newBuilder().setCommunityId(id).build();
        var community = metagov.communities().getCommunity(request).getCommunity();
        Print.line(
                Map.of(
                        "community_id", community.getCommunityId(),
                        "display_name", community.getDisplayName()));
    }
}
