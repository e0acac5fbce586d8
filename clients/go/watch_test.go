package metagov

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	metagovv1 "metagov.org/go/metagov/v1"
)

var gone = status.Error(codes.Unavailable, "gone")

// read takes so many events.
func read(t *testing.T, watcher *Watcher, count int) []string {
	t.Helper()
	var ids []string
	for range count {
		event, err := watcher.Next()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, event.EventId)
	}
	return ids
}

func TestAWatchGoesOnWhereItBroke(t *testing.T) {
	gateway := &fake{streams: []script{
		{end: gone},
		{messages: responses(message("start")), end: status.Error(codes.Internal, "RST_STREAM")},
		{messages: responses(message("a", "b", "b"), message("c", "quiet")), end: gone},
		{messages: responses(message("d", "d"))},
	}}
	var tries int
	watcher := serve(t, gateway).Watch(t.Context(), nil, Latest(),
		OnRetry(func(error, time.Duration) { tries++ }))
	if ids := read(t, watcher, 4); !slices.Equal(ids, []string{"a", "b", "c", "d"}) {
		t.Error(ids)
	}
	if tries != 3 || watcher.Cursor() != "d" {
		t.Error(tries, watcher.Cursor())
	}
	var after []string
	for _, request := range gateway.requests {
		after = append(after, request.GetAfterCursor())
	}
	if !slices.Equal(after, []string{"", "", "start", "quiet"}) {
		t.Error(after)
	}
}

func TestAWatchStopsWhereNoRetryHelps(t *testing.T) {
	gateway := &fake{streams: []script{{
		messages: responses(message("a", "a")), end: status.Error(codes.OutOfRange, "expired"),
	}}}
	var got []error
	for _, err := range serve(t, gateway).Watch(t.Context(), nil, AfterCursor("old")).All() {
		got = append(got, err)
	}
	if len(got) != 2 || got[0] != nil || status.Code(got[1]) != codes.OutOfRange {
		t.Error(got)
	}
}

func TestTheEndOfTheContextEndsAWatch(t *testing.T) {
	gateway := &fake{streams: []script{{messages: responses(message("quiet"))}}}
	ctx, cancel := context.WithCancel(t.Context())
	watcher := serve(t, gateway).Watch(ctx, nil, Latest(), OnPosition(func(string) { cancel() }))
	if _, err := watcher.Next(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if watcher.Cursor() != "quiet" {
		t.Error(watcher.Cursor())
	}
}

func TestClosingEndsAWatchThatWaits(t *testing.T) {
	gateway := &fake{streams: []script{{}}}
	watcher := serve(t, gateway).Watch(t.Context(), nil, Latest())
	time.AfterFunc(10*time.Millisecond, watcher.Close)
	if _, err := watcher.Next(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestASubscriptionIsAcknowledgedByWhoAsksForMore(t *testing.T) {
	gateway := &fake{streams: []script{
		{messages: responses(message("a", "b", "quiet")), end: gone},
		{messages: responses(message("c", "c"))},
	}}
	watcher := serve(t, gateway).Watch(t.Context(), nil, FromSubscription("mine"))
	if ids := read(t, watcher, 3); !slices.Equal(ids, []string{"a", "b", "c"}) {
		t.Error(ids)
	}
	if !slices.Equal(gateway.acknowledged, []string{"a", "quiet"}) {
		t.Error(gateway.acknowledged)
	}
	for _, request := range gateway.requests {
		if request.GetSubscriptionId() != "mine" || request.Filter != nil {
			t.Error(request)
		}
	}
}

func TestWaitingForAProcessOutlastsBreaks(t *testing.T) {
	open, done := metagovv1.ProcessState_PROCESS_STATE_OPEN, metagovv1.ProcessState_PROCESS_STATE_COMPLETED
	client := serve(t, &fake{states: []metagovv1.ProcessState{open, open, done}})
	process, err := client.WaitForProcess(t.Context(), "p")
	if err != nil || process.State != done {
		t.Error(process, err)
	}
}

func responses(messages ...*metagovv1.WatchEventsResponse) []*metagovv1.WatchEventsResponse {
	return messages
}
