package org.metagov.client;

import io.grpc.Deadline;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.metagov.v1.Process;
import org.metagov.v1.ProcessServiceGrpc;
import org.metagov.v1.WatchProcessRequest;
import org.metagov.v1.WatchProcessResponse;

/** Waits for the end of a process. */
final class ProcessWait {
    private final String processId;
    private final Duration timeout;
    // Null for none.
    private final Deadline deadline;
    private final Reconnecting<WatchProcessRequest, WatchProcessResponse> states;

    /** No timeout is null. */
    ProcessWait(Line line, String processId, Duration timeout) {
        this.processId = processId;
        this.timeout = timeout;
        deadline = timeout == null ? null : Deadline.after(timeout.toNanos(), TimeUnit.NANOSECONDS);
        states =
                new Reconnecting<>(
                        line,
                        ProcessServiceGrpc.getWatchProcessMethod(),
                        this::request,
                        Heartbeat.USUAL.patience(),
                        (error, delay) -> {},
                        deadline);
    }

    Process await() {
        try (states) {
            return last();
        } catch (StatusRuntimeException fault) {
            // Whatever the last fault was: it was not this which took so long.
            throw deadline != null && deadline.isExpired() ? late() : fault;
        }
    }

    private Process last() {
        while (true) {
            var process = states.next().orElseThrow(ProcessWait::closed).getProcess();
            if (isDone(process)) {
                return process;
            }
        }
    }

    private WatchProcessRequest request() {
        return WatchProcessRequest.newBuilder()
                .setProcessId(processId)
                .setHeartbeatInterval(Heartbeat.USUAL.proto())
                .build();
    }

    private static boolean isDone(Process process) {
        return switch (process.getState()) {
            case PROCESS_STATE_COMPLETED, PROCESS_STATE_CANCELLED, PROCESS_STATE_FAILED -> true;
            default -> false;
        };
    }

    private StatusRuntimeException late() {
        var why = "the process " + processId + " is not done after " + timeout.toMillis() + " ms";
        return Status.DEADLINE_EXCEEDED.withDescription(why).asRuntimeException();
    }

    private static StatusRuntimeException closed() {
        return Status.CANCELLED.withDescription("the client is closed").asRuntimeException();
    }
}
