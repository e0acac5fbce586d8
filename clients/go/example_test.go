package metagov_test

import (
	"context"
	"fmt"
	"log"
	"time"

	metagov "metagov.org/go"
	metagovv1 "metagov.org/go/metagov/v1"
)

func ExampleClient_Watch() {
	client, err := metagov.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	filter := &metagovv1.EventFilter{CommunityIds: []string{"garden"}}
	saved := "" // The cursor that the driver kept when it last ran.
	watcher := client.Watch(context.Background(), filter, metagov.AfterCursor(saved),
		metagov.OnRetry(func(err error, delay time.Duration) { log.Printf("again in %v: %v", delay, err) }))
	for event, err := range watcher.All() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.EventId)
		saved = watcher.Cursor()
	}
}

func ExampleClient_WaitForProcess() {
	client, err := metagov.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	process, err := client.WaitForProcess(ctx, "01890a5d-ac96-774b-bcce-b302099a8057")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(process.State, process.GetTally().GetLeadingOptions())
}

func ExampleFaultOf() {
	_, err := metagov.Connect(metagov.WithEndpoint("gateway.example"))
	fault := metagov.FaultOf(err)
	fmt.Println(fault.CodeName())
	fmt.Println(fault.Message)
	// Output:
	// INVALID_ARGUMENT
	// METAGOV_ENDPOINT: is no address such as http://127.0.0.1:50051
}

func ExampleToStruct() {
	object, err := metagov.ToStruct(map[string]any{"low": 1, "high": 7})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(metagov.FromStruct(object))

	_, err = metagov.ToStruct(map[string]any{"tokens": []any{int64(1<<53 + 1)}})
	fmt.Println(err)
	// Output:
	// map[high:7 low:1]
	// tokens[0]: whole numbers beyond 2^53 lose digits here: send them as strings
}
