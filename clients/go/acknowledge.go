package metagov

import (
	"context"
	"time"

	metagovv1 "metagov.org/go/metagov/v1"
)

// How long an acknowledgement may take before it is sent again; it takes milliseconds.
const acknowledgeTimeout = 20 * time.Second

// acknowledge tells the gateway what is dealt with, until it has heard it.
func (w *Watcher) acknowledge() error {
	for w.Cursor() != w.acknowledged {
		cursor := w.Cursor()
		err := w.send(&metagovv1.AcknowledgeEventsRequest{
			SubscriptionId: w.start.subscription, Cursor: cursor,
		})
		if err == nil {
			w.acknowledged = cursor
		} else if err := w.feed.retries.again(w.feed.ctx, err); err != nil {
			return err
		}
	}
	return w.feed.ctx.Err()
}

func (w *Watcher) send(request *metagovv1.AcknowledgeEventsRequest) error {
	ctx, cancel := context.WithTimeout(w.feed.ctx, acknowledgeTimeout)
	defer cancel()
	_, err := w.client.Subscriptions.AcknowledgeEvents(ctx, request)
	return err
}
