package metagov

import (
	"context"
	"iter"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	metagovv1 "metagov.org/go/metagov/v1"
)

// Watcher is an endless series of events that goes on by itself after a break. Only one
// goroutine may call Next or range over All; Cursor and Close are for any.
type Watcher struct {
	client  *Client
	filter  *metagovv1.EventFilter
	start   Start
	options watchOptions
	cancel  context.CancelFunc
	feed    feed[metagovv1.WatchEventsResponse]

	batch        []*metagovv1.Event // What came and was not handed out yet,
	end          string             // and the place after it.
	position     atomic.Pointer[string]
	acknowledged string
}

// Watch reads events in order, each once, from that start on: those that match the filter,
// of nil all. Nothing is called before the first Next.
//
// It reconnects after whatever a retry may cure, and goes on after the last event that was
// handed out, or after the last heartbeat. It waits 0.1 s before that, then twice as long
// each time up to 10 s, times a random half to one, and at least as long as the gateway
// asks for. What a retry cannot cure is returned: a refused token, a wrong request, and
// above all OUT_OF_RANGE if the cursor has expired while nobody read. See [FaultOf].
//
// An event of a kind that this package is too old to know has no payload.
func (c *Client) Watch(
	ctx context.Context, filter *metagovv1.EventFilter, start Start, options ...WatchOption,
) *Watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &Watcher{
		client: c, filter: filter, start: start, options: watchOptionsOf(options), cancel: cancel,
	}
	w.position.Store(&start.cursor)
	w.feed = feed[metagovv1.WatchEventsResponse]{
		ctx: ctx, open: w.open, retries: w.options.retries(), patience: w.options.patience(),
		line: c.line,
	}
	return w
}

// Next waits for the next event. Its error is the context's after the context's end,
// context.Canceled after Close.
func (w *Watcher) Next() (*metagovv1.Event, error) {
	for {
		if err := w.settle(); err != nil {
			return nil, err
		}
		if len(w.batch) > 0 {
			event := w.batch[0]
			w.batch = w.batch[1:]
			w.reach(event.Cursor)
			return event, nil
		}
		message, err := w.feed.next()
		if err != nil {
			return nil, err
		}
		w.batch, w.end = message.Events, message.Cursor
	}
}

// All is every event from here on, and last the error that Next returns. Leaving the loop
// closes the watcher; Cursor can still be asked.
func (w *Watcher) All() iter.Seq2[*metagovv1.Event, error] {
	return func(yield func(*metagovv1.Event, error) bool) {
		defer w.Close()
		for {
			event, err := w.Next()
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Cursor is the place reached: after the last event handed out, or later where nothing
// that followed was to be. Pass it to [AfterCursor] to go on there, also in another
// process. Empty before the first message came.
func (w *Watcher) Cursor() string {
	return *w.position.Load()
}

// Close ends the stream, and a Next that waits.
func (w *Watcher) Close() {
	w.cancel()
}

// settle is done before anything more is handed out or read: whatever was handed out
// before is dealt with now.
func (w *Watcher) settle() error {
	if len(w.batch) == 0 && w.end != "" {
		w.reach(w.end)
		w.options.onPosition(w.end)
		w.end = ""
	}
	if w.start.subscription == "" {
		return w.feed.ctx.Err()
	}
	return w.acknowledge()
}

func (w *Watcher) reach(cursor string) {
	w.position.Store(&cursor)
}

// open goes on where the last stream broke. The place of a subscription is kept by the
// gateway; it is exact, since nothing is read while something is not acknowledged.
func (w *Watcher) open(
	ctx context.Context,
) (grpc.ServerStreamingClient[metagovv1.WatchEventsResponse], error) {
	request := &metagovv1.WatchEventsRequest{
		Filter: w.filter, HeartbeatInterval: durationpb.New(w.options.heartbeat),
	}
	start := w.start
	if cursor := w.Cursor(); cursor != "" && start.subscription == "" {
		start = AfterCursor(cursor)
	}
	start.say(request)
	return w.client.Events.WatchEvents(ctx, request)
}
