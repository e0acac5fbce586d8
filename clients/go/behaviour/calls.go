package main

import (
	"context"
	"encoding/json"
	"flag"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	metagov "metagov.org/go"
	metagovv1 "metagov.org/go/metagov/v1"
)

func wait(ctx context.Context, client *metagov.Client, args []string) error {
	flags := flag.NewFlagSet("wait PROCESS_ID", flag.ExitOnError)
	timeout := flags.Float64("timeout", 0, "in seconds")
	_ = flags.Parse(args[1:]) // It exits.
	if *timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(*timeout*float64(time.Second)))
		defer cancel()
		ctx = limited
	}
	process, err := client.WaitForProcess(ctx, args[0])
	if err != nil {
		return err
	}
	say(line{
		"state":   strings.TrimPrefix(process.State.String(), "PROCESS_STATE_"),
		"leading": append([]string{}, process.GetTally().GetLeadingOptions()...),
		"outcome": metagov.FromStruct(process.Outcome),
	})
	return nil
}

func perform(ctx context.Context, client *metagov.Client, args []string) error {
	parameters, err := parse(args[2])
	if err != nil {
		return err
	}
	answer, err := client.Actions.PerformAction(ctx, &metagovv1.PerformActionRequest{
		CommunityId: args[0], Action: args[1], Parameters: parameters,
	})
	if err != nil {
		return err
	}
	say(line{"result": metagov.FromValue(answer.Result)})
	return nil
}

func getCommunity(ctx context.Context, client *metagov.Client, args []string) error {
	request := &metagovv1.GetCommunityRequest{CommunityId: args[0]}
	answer, err := client.Communities.GetCommunity(ctx, request)
	if err != nil {
		return err
	}
	community := answer.Community
	say(line{"community_id": community.CommunityId, "display_name": community.DisplayName})
	return nil
}

func roundTrip(_ context.Context, _ *metagov.Client, args []string) error {
	object, err := parse(args[0])
	if err != nil {
		return err
	}
	wire, err := proto.Marshal(object)
	if err != nil {
		return err
	}
	back := &structpb.Struct{}
	if err := proto.Unmarshal(wire, back); err != nil {
		return err
	}
	say(line{"struct": metagov.FromStruct(back)})
	return nil
}

func parse(text string) (*structpb.Struct, error) {
	var object any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return nil, status.Error(codes.InvalidArgument, "is no JSON: "+err.Error())
	}
	return metagov.ToStruct(object)
}
