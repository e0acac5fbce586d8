package metagov

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	metagovv1 "metagov.org/go/metagov/v1"
)

// WaitForProcess returns the process once it is COMPLETED, CANCELLED or FAILED; which, its
// state says. It reconnects as [Client.Watch] does, and never returns earlier without an
// error: that of the context, or one that no retry cures, such as NOT_FOUND. Of the
// options, [WithHeartbeat] and [OnRetry] apply.
func (c *Client) WaitForProcess(
	ctx context.Context, processID string, options ...WatchOption,
) (*metagovv1.Process, error) {
	chosen := watchOptionsOf(options)
	request := &metagovv1.WatchProcessRequest{
		ProcessId: processID, HeartbeatInterval: durationpb.New(chosen.heartbeat),
	}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[metagovv1.WatchProcessResponse], error) {
		return c.Processes.WatchProcess(ctx, request)
	}
	states := feed[metagovv1.WatchProcessResponse]{
		ctx: ctx, open: open, retries: chosen.retries(), patience: chosen.patience(),
		line: c.line,
	}
	defer states.close()
	for {
		message, err := states.next()
		if err != nil {
			return nil, err
		}
		if isDone(message.GetProcess().GetState()) {
			return message.Process, nil
		}
	}
}

func isDone(state metagovv1.ProcessState) bool {
	switch state {
	case metagovv1.ProcessState_PROCESS_STATE_COMPLETED,
		metagovv1.ProcessState_PROCESS_STATE_CANCELLED,
		metagovv1.ProcessState_PROCESS_STATE_FAILED:
		return true
	}
	return false
}
