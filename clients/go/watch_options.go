package metagov

import "time"

const defaultHeartbeat = 15 * time.Second

// WatchOption is about how to watch.
type WatchOption func(*watchOptions)

// WithHeartbeat is the longest silence wanted of the gateway: 1 s to 5 min, 15 s unless
// said. A stream that is silent for twice that and 5 s more is taken for broken.
func WithHeartbeat(interval time.Duration) WatchOption {
	return func(o *watchOptions) { o.heartbeat = interval }
}

// OnRetry is called before each wait, with what happened and how long the wait is. It is
// for logs.
func OnRetry(tell func(err error, delay time.Duration)) WatchOption {
	return func(o *watchOptions) { o.onRetry = tell }
}

// OnPosition is called with the place reached whenever that moved past the last event
// handed out, as with every heartbeat, and with the first message. It is for drivers that
// save their cursor also where nothing happens for them.
func OnPosition(tell func(cursor string)) WatchOption {
	return func(o *watchOptions) { o.onPosition = tell }
}

type watchOptions struct {
	heartbeat  time.Duration
	onRetry    func(error, time.Duration)
	onPosition func(string)
}

func watchOptionsOf(options []WatchOption) watchOptions {
	result := watchOptions{
		heartbeat:  defaultHeartbeat,
		onRetry:    func(error, time.Duration) {},
		onPosition: func(string) {},
	}
	for _, option := range options {
		option(&result)
	}
	return result
}

func (o watchOptions) retries() retries {
	return retries{onRetry: o.onRetry}
}

func (o watchOptions) patience() time.Duration {
	return 2*o.heartbeat + 5*time.Second
}
