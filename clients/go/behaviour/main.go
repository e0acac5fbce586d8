// Command behaviour does one thing with a gateway and says what came of it, one JSON
// object a line: the tests compare the clients of all languages by it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	metagov "metagov.org/go"
)

// What it can do, with the arguments after the verb.
var verbs = map[string]func(context.Context, *metagov.Client, []string) error{
	"watch":              watch,
	"watch-subscription": watchSubscription,
	"cancel":             cancel,
	"wait":               wait,
	"perform":            perform,
	"get-community":      getCommunity,
	"struct":             roundTrip,
}

func main() {
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: behaviour VERB ARG…")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := run(ctx, verbs[os.Args[1]], os.Args[2:])
	if err == nil || ctx.Err() != nil {
		return
	}
	say(line{"error": describe(err)})
	os.Exit(1)
}

func run(
	ctx context.Context, verb func(context.Context, *metagov.Client, []string) error, args []string,
) error {
	client, err := metagov.Connect()
	if err != nil {
		return err
	}
	defer client.Close()
	return verb(ctx, client, args)
}
