package main

import (
	"context"
	"errors"
	"flag"
	"sync"
	"time"

	metagov "metagov.org/go"
	metagovv1 "metagov.org/go/metagov/v1"
)

func watch(ctx context.Context, client *metagov.Client, args []string) error {
	flags := newFlags("watch")
	after := flags.String("after", "", "cursor")
	earliest := flags.Bool("earliest", false, "from the oldest event")
	community := flags.String("community", "", "only this one's")
	_ = flags.Parse(args) // It exits.

	filter := &metagovv1.EventFilter{}
	if *community != "" {
		filter.CommunityIds = []string{*community}
	}
	start := metagov.AfterCursor(*after)
	if *earliest {
		start = metagov.Earliest()
	}
	return follow(client.Watch(ctx, filter, start, flags.options()...), *flags.count)
}

func watchSubscription(ctx context.Context, client *metagov.Client, args []string) error {
	flags := newFlags("watch-subscription ID")
	_ = flags.Parse(args[1:])
	start := metagov.FromSubscription(args[0])
	return follow(client.Watch(ctx, nil, start, flags.options()...), *flags.count)
}

func cancel(ctx context.Context, client *metagov.Client, _ []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher := client.Watch(ctx, nil, metagov.Latest(), metagov.OnPosition(func(string) { cancel() }))
	_, err := watcher.Next()
	if !errors.Is(err, context.Canceled) {
		return err
	}
	say(line{"cancelled": true})
	return nil
}

// flags are what every watch takes.
type flags struct {
	*flag.FlagSet
	heartbeat *float64
	count     *int
}

func newFlags(verb string) flags {
	set := flag.NewFlagSet(verb, flag.ExitOnError)
	return flags{
		FlagSet:   set,
		heartbeat: set.Float64("heartbeat", 15, "in seconds"),
		count:     set.Int("count", -1, "events to end after"),
	}
}

func (f flags) options() []metagov.WatchOption {
	return []metagov.WatchOption{
		metagov.WithHeartbeat(time.Duration(*f.heartbeat * float64(time.Second))),
		metagov.OnPosition(sayReady),
		metagov.OnRetry(sayRetry),
	}
}

// follow says each event, up to so many; all of them if there are fewer than none.
func follow(watcher *metagov.Watcher, count int) error {
	defer watcher.Close()
	for ; count != 0; count-- {
		event, err := watcher.Next()
		if err != nil {
			return err
		}
		sayReady(event.Cursor)
		say(line{"event_id": event.EventId, "cursor": event.Cursor, "kind": kindOf(event)})
	}
	return nil
}

var once sync.Once

func sayReady(cursor string) {
	once.Do(func() { say(line{"ready": true, "cursor": cursor}) })
}

func sayRetry(err error, delay time.Duration) {
	code := metagov.FaultOf(err).CodeName()
	say(line{"retry": line{"code": code, "delay": delay.Seconds()}})
}

// kindOf is the name of the payload's field, empty for a kind of a newer gateway.
func kindOf(event *metagovv1.Event) string {
	message := event.ProtoReflect()
	field := message.WhichOneof(message.Descriptor().Oneofs().ByName("payload"))
	if field == nil {
		return ""
	}
	return string(field.Name())
}
