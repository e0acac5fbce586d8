package metagov

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"

	metagovv1 "metagov.org/go/metagov/v1"
)

const (
	shortestDelay = 100 * time.Millisecond
	longestDelay  = 10 * time.Second
)

// retries decide whether and when to try again.
type retries struct {
	onRetry func(error, time.Duration)
	delay   time.Duration // Of the next time, before chance; 0 is the shortest.
}

// again waits after a failure, or returns it if trying again cures nothing. Of two
// causes, the end of the context is the one to tell.
func (r *retries) again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fault := FaultOf(err)
	if !isCurable(fault) {
		return err
	}
	delay := max(r.next(), fault.RetryDelay)
	if r.onRetry != nil {
		r.onRetry(err, delay)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// next is a random half to whole of a delay that doubles.
func (r *retries) next() time.Duration {
	delay := max(r.delay, shortestDelay)
	r.delay = min(2*delay, longestDelay)
	return delay/2 + rand.N(delay/2)
}

// succeeded begins anew with the shortest delay.
func (r *retries) succeeded() {
	r.delay = 0
}

// isCurable tells whether the same call may go well later.
func isCurable(f *Fault) bool {
	switch f.Code {
	case codes.Unavailable:
		return !isOfTLS(f)
	case codes.ResourceExhausted:
		return f.Reason != metagovv1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE.String()
	case codes.Aborted, codes.DeadlineExceeded:
		return true
	case codes.Canceled, codes.Internal, codes.Unknown:
		// Without a reason of the gateway it comes from whoever is on the way.
		return f.Reason == ""
	}
	return false
}
