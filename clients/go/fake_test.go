package metagov

import (
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	metagovv1 "metagov.org/go/metagov/v1"
)

// fake is a gateway whose streams are scripted: each takes the next script, and ends with
// its error.
type fake struct {
	metagovv1.UnimplementedEventServiceServer
	metagovv1.UnimplementedProcessServiceServer
	metagovv1.UnimplementedSubscriptionServiceServer

	mutex        sync.Mutex
	streams      []script
	requests     []*metagovv1.WatchEventsRequest
	acknowledged []string
	states       []metagovv1.ProcessState // One for each WatchProcess, which then ends.
}

// script is what one stream sends. One without an error stays open.
type script struct {
	messages []*metagovv1.WatchEventsResponse
	end      error
}

func (f *fake) WatchEvents(
	request *metagovv1.WatchEventsRequest, stream grpc.ServerStreamingServer[metagovv1.WatchEventsResponse],
) error {
	now := f.next(request)
	for _, message := range now.messages {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	if now.end == nil {
		<-stream.Context().Done()
	}
	return now.end
}

func (f *fake) next(request *metagovv1.WatchEventsRequest) script {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.requests = append(f.requests, request)
	now := f.streams[0]
	f.streams = f.streams[1:]
	return now
}

func (f *fake) AcknowledgeEvents(
	_ context.Context, request *metagovv1.AcknowledgeEventsRequest,
) (*metagovv1.AcknowledgeEventsResponse, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.acknowledged = append(f.acknowledged, request.Cursor)
	return &metagovv1.AcknowledgeEventsResponse{}, nil
}

func (f *fake) WatchProcess(
	request *metagovv1.WatchProcessRequest, stream grpc.ServerStreamingServer[metagovv1.WatchProcessResponse],
) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	state := f.states[0]
	f.states = f.states[1:]
	process := &metagovv1.Process{ProcessId: request.ProcessId, State: state}
	return stream.Send(&metagovv1.WatchProcessResponse{Process: process})
}

// serve runs the fake until the end of the test, and gives a client of it.
func serve(t *testing.T, gateway *fake) *Client {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	metagovv1.RegisterEventServiceServer(server, gateway)
	metagovv1.RegisterProcessServiceServer(server, gateway)
	metagovv1.RegisterSubscriptionServiceServer(server, gateway)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
	client, err := Connect(WithEndpoint("http://localhost"), WithDialOptions(grpc.WithContextDialer(dial)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// message has events with these cursors, which are their ids too, and ends at the last
// word.
func message(words ...string) *metagovv1.WatchEventsResponse {
	last := len(words) - 1
	response := &metagovv1.WatchEventsResponse{Cursor: words[last]}
	for _, word := range words[:last] {
		response.Events = append(response.Events, &metagovv1.Event{EventId: word, Cursor: word})
	}
	return response
}
