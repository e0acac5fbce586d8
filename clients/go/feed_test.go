package metagov

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	metagovv1 "metagov.org/go/metagov/v1"
)

func TestAfterSilenceANewStreamIsOpened(t *testing.T) {
	gateway := &fake{streams: []script{{}, {messages: responses(message("here"))}}}
	client := serve(t, gateway)
	var told error
	quiet := feed[metagovv1.WatchEventsResponse]{
		ctx:      t.Context(),
		patience: 200 * time.Millisecond,
		line:     client.line,
		retries:  retries{onRetry: func(err error, _ time.Duration) { told = err }},
		open: func(ctx context.Context) (grpc.ServerStreamingClient[metagovv1.WatchEventsResponse], error) {
			return client.Events.WatchEvents(ctx, &metagovv1.WatchEventsRequest{})
		},
	}
	defer quiet.close()
	got, err := quiet.next()
	if err != nil || got.Cursor != "here" {
		t.Fatal(got, err)
	}
	if told == nil || !strings.Contains(told.Error(), "nothing came for 200ms") {
		t.Error(told)
	}
}

func TestDelaysDoubleAndTheGatewaysIsTheLeast(t *testing.T) {
	var delays retries
	for _, whole := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		whole *= time.Millisecond
		if delay := delays.next(); delay < whole/2 || delay > whole {
			t.Errorf("%v is no half to whole of %v", delay, whole)
		}
	}
	delays.succeeded()
	if delay := delays.next(); delay > 100*time.Millisecond {
		t.Error(delay)
	}
}
