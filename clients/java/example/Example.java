import com.google.protobuf.Timestamp;
import io.grpc.*;
import java.util.*;
import org.metagov.client.*;
import org.metagov.v1.*;

/** A driver: it draws a number, and has a community vote. */
class Example {
    public static void main(String[] arguments) {
        var community = arguments.length > 0 ? arguments[0] : "example";
        try (var metagov = Metagov.connect()) {
            var tenant = Community.newBuilder().setCommunityId(community);
            unlessThere(() -> metagov.communities().createCommunity(
                    CreateCommunityRequest.newBuilder().setCommunity(tenant).build()));
            enable(metagov, community, "randomness", Map.of("default_low", 0, "default_high", 10));
            enable(metagov, community, "ballot", Map.of());
            var range = Map.of("low", 1, "high", 7);
            var lucky = perform(metagov, community, "randomness.random-int", range);
            System.out.println("lucky number: " + lucky.get("value"));

            var question = Map.of("title", "Lunch?", "options", List.of("soup", "bread"));
            var closing = Timestamp.newBuilder().setSeconds(System.currentTimeMillis() / 1000 + 5);
            var start = StartProcessRequest.newBuilder().setCommunityId(community)
                    .setProcessType("ballot.vote").setParameters(Structs.toStruct(question))
                    .setCloseTime(closing).build();
            var vote = metagov.processes().startProcess(start).getProcess().getProcessId();
            var ballot = Map.of("process_id", vote, "voter", "ada", "choices", List.of("soup"));
            perform(metagov, community, "ballot.cast", ballot);
            var filter = EventFilter.newBuilder().addProcessIds(vote).build();
            try (var events = metagov.watch().filter(filter).earliest().open()) {
                var process = events.next().getProcessChanged().getProcess();
                while (process.getState() != ProcessState.PROCESS_STATE_COMPLETED) {
                    process = events.next().getProcessChanged().getProcess();
                }
                System.out.println("decided: " + process.getTally().getLeadingOptions(0));
            }
        }
    }

    private static void enable(Metagov metagov, String community, String plugin, Map<?, ?> config) {
        var request = EnablePluginRequest.newBuilder().setCommunityId(community).setPlugin(plugin)
                .setConfig(Structs.toStruct(config)).build();
        unlessThere(() -> metagov.plugins().enablePlugin(request));
    }

    private static Map<?, ?> perform(Metagov metagov, String community, String name, Map<?, ?> in) {
        var request = PerformActionRequest.newBuilder().setCommunityId(community).setAction(name)
                .setParameters(Structs.toStruct(in)).build();
        return (Map<?, ?>) Structs.fromValue(metagov.actions().performAction(request).getResult());
    }

    private static void unlessThere(Runnable call) {
        try {
            call.run();
        } catch (StatusRuntimeException fault) {
            if (fault.getStatus().getCode() != Status.Code.ALREADY_EXISTS) throw fault;
        }
    }
}
