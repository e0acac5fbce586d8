package metagov

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// feed makes one endless series of messages out of streams that break.
type feed[Message any] struct {
	ctx     context.Context
	open    func(context.Context) (grpc.ServerStreamingClient[Message], error)
	retries retries
	// The longest silence of a stream that is well.
	patience time.Duration
	line     *line
	stream   *stream[Message]
}

// next waits for a message. It fails if the context is done or if no retry helps; called
// again, it opens a new stream.
func (f *feed[Message]) next() (*Message, error) {
	for {
		message, err := f.attempt()
		if err == nil {
			f.retries.succeeded()
			return message, nil
		}
		f.close()
		if quiet := silence(0); errors.As(err, &quiet) {
			f.line.cut(f.patience)
		}
		if err := f.retries.again(f.ctx, err); err != nil {
			return nil, err
		}
	}
}

func (f *feed[Message]) attempt() (*Message, error) {
	if f.stream == nil {
		f.stream = newStream(f.ctx, f.open)
	}
	return f.stream.receive(f.patience)
}

func (f *feed[Message]) close() {
	if f.stream != nil {
		f.stream.cancel(nil)
		f.stream = nil
	}
}

// stream is one call.
type stream[Message any] struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	open     func(context.Context) (grpc.ServerStreamingClient[Message], error)
	messages grpc.ServerStreamingClient[Message]
}

func newStream[Message any](
	ctx context.Context, open func(context.Context) (grpc.ServerStreamingClient[Message], error),
) *stream[Message] {
	ctx, cancel := context.WithCancelCause(ctx)
	return &stream[Message]{ctx: ctx, cancel: cancel, open: open}
}

// receive waits for a message, and first opens the stream if it is not open yet. After a
// silence of that length the stream ends.
func (s *stream[Message]) receive(patience time.Duration) (*Message, error) {
	timer := time.AfterFunc(patience, func() { s.cancel(silence(patience)) })
	defer timer.Stop()
	message, err := s.read()
	switch cause := context.Cause(s.ctx); {
	case err == nil:
		return message, nil
	case cause != nil && cause != s.ctx.Err():
		return nil, cause
	case errors.Is(err, io.EOF):
		return nil, status.Error(codes.Unavailable, "the stream has ended")
	}
	return nil, err
}

func (s *stream[Message]) read() (_ *Message, err error) {
	if s.messages == nil {
		if s.messages, err = s.open(s.ctx); err != nil {
			return nil, err
		}
	}
	return s.messages.Recv()
}

// silence is why a stream is given up, and how long it lasted.
type silence time.Duration

func (s silence) Error() string {
	return fmt.Sprintf("nothing came for %v, not even a heartbeat", time.Duration(s))
}

// GRPCStatus lets it be read as what it is: nobody there.
func (s silence) GRPCStatus() *status.Status {
	return status.New(codes.Unavailable, s.Error())
}
