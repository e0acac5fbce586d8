// Command example is a first driver: it draws a number, then lets people vote on lunch.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metagov "metagov.org/go"
	pb "metagov.org/go/metagov/v1"
)

func main() {
	community, ctx := append(os.Args, "example")[1], context.Background()
	client := must(metagov.Connect())
	must(client.Communities.CreateCommunity(ctx, &pb.CreateCommunityRequest{
		Community: &pb.Community{CommunityId: community}}))
	must(client.Plugins.EnablePlugin(ctx, &pb.EnablePluginRequest{CommunityId: community,
		Plugin: "randomness", Config: object(fields{"default_low": 0, "default_high": 10})}))
	must(client.Plugins.EnablePlugin(ctx, &pb.EnablePluginRequest{CommunityId: community, Plugin: "ballot"}))

	drawn := must(client.Actions.PerformAction(ctx, &pb.PerformActionRequest{CommunityId: community,
		Action: "randomness.random-int", Parameters: object(fields{"low": 1, "high": 7})}))
	fmt.Println("lucky number:", metagov.FromValue(drawn.Result).(fields)["value"])

	vote := must(client.Processes.StartProcess(ctx, &pb.StartProcessRequest{CommunityId: community,
		ProcessType: "ballot.vote", CloseTime: timestamppb.New(time.Now().Add(5 * time.Second)),
		Parameters: object(fields{"title": "Lunch?", "options": []string{"soup", "bread"}})})).Process
	ballot := object(fields{"process_id": vote.ProcessId, "voter": "ada", "choices": []string{"soup"}})
	must(client.Actions.PerformAction(ctx, &pb.PerformActionRequest{
		CommunityId: community, Action: "ballot.cast", Parameters: ballot}))

	filter := &pb.EventFilter{ProcessIds: []string{vote.ProcessId}}
	for event, err := range client.Watch(ctx, filter, metagov.Earliest()).All() {
		now := must(event, err).GetProcessChanged().GetProcess()
		if now.GetState() == pb.ProcessState_PROCESS_STATE_COMPLETED {
			fmt.Println("decided:", now.Tally.LeadingOptions[0])
			return
		}
	}
}

type fields = map[string]any

func object(f fields) *structpb.Struct { return must(metagov.ToStruct(f)) }

// must ends the program on an error; that something is there already is none.
func must[T any](value T, err error) T {
	if err != nil && metagov.FaultOf(err).Code != codes.AlreadyExists {
		log.Fatal(err)
	}
	return value
}
