package metagov

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	metagovv1 "metagov.org/go/metagov/v1"
)

// Start is where a watch begins. The zero value is [Latest].
type Start struct {
	at           metagovv1.StartAt
	cursor       string
	time         *timestamppb.Timestamp
	subscription string
}

// Latest is what happens from now on.
func Latest() Start {
	return Start{at: metagovv1.StartAt_START_AT_LATEST}
}

// Earliest is the oldest event still kept.
func Earliest() Start {
	return Start{at: metagovv1.StartAt_START_AT_EARLIEST}
}

// AfterCursor is just after the place that [Watcher.Cursor] or an event's cursor names. An
// empty cursor is [Latest], as in a driver's first run.
func AfterCursor(cursor string) Start {
	return Start{cursor: cursor}
}

// FromTime is the first event recorded then or later. The future is INVALID_ARGUMENT,
// before the oldest kept event it is OUT_OF_RANGE.
func FromTime(t time.Time) Start {
	return Start{time: timestamppb.New(t)}
}

// FromSubscription is after what the subscription has acknowledged, with its filter: that
// of Watch must be nil. Asking for the next event acknowledges the one before it, and so
// does a heartbeat what led to it; after a crash a driver sees at most one event again.
func FromSubscription(id string) Start {
	return Start{subscription: id}
}

func (s Start) say(request *metagovv1.WatchEventsRequest) {
	switch {
	case s.subscription != "":
		request.Start = &metagovv1.WatchEventsRequest_SubscriptionId{SubscriptionId: s.subscription}
	case s.cursor != "":
		request.Start = &metagovv1.WatchEventsRequest_AfterCursor{AfterCursor: s.cursor}
	case s.time != nil:
		request.Start = &metagovv1.WatchEventsRequest_StartTime{StartTime: s.time}
	default:
		request.Start = &metagovv1.WatchEventsRequest_StartAt{StartAt: s.at}
	}
}
