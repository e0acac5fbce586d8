package metagov

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	metagovv1 "metagov.org/go/metagov/v1"
)

// Version of this package: that of the gateway it is made with.
const Version = "0.1.0"

// The most bytes of one message from the gateway, which sends far less.
const maxMessage = 64 << 20

// Client is the way to one gateway. It may be used from several goroutines at once; one
// for each program is enough.
type Client struct {
	Access        metagovv1.AccessServiceClient
	Actions       metagovv1.ActionServiceClient
	Communities   metagovv1.CommunityServiceClient
	Events        metagovv1.EventServiceClient
	Identities    metagovv1.IdentityServiceClient
	Plugins       metagovv1.PluginServiceClient
	Processes     metagovv1.ProcessServiceClient
	Subscriptions metagovv1.SubscriptionServiceClient

	conn *grpc.ClientConn
	line *line
}

// Connect prepares the way to the gateway that the environment names, unless options say
// otherwise:
//
//   - METAGOV_ENDPOINT: where it is; http://127.0.0.1:50051 if unset. With https:// the
//     connection is TLS.
//   - METAGOV_TOKEN: sent with every call, if set.
//   - METAGOV_CA: a PEM file of who vouches for the gateway's certificate; if unset, whom
//     the system trusts.
//   - METAGOV_INSECURE_PLAINTEXT: true to send the token over http:// to another machine,
//     where whoever is on the way can read it.
//
// The connection itself is made by the first call, and again after a break. An error says
// which variable is wrong; it never repeats the token.
func Connect(options ...Option) (*Client, error) {
	settings := fromEnvironment()
	for _, option := range options {
		option(&settings)
	}
	to, err := parseEndpoint(settings.endpoint)
	if err != nil {
		return nil, err
	}
	line := &line{}
	dialing, err := settings.dialing(to, line)
	if err != nil {
		return nil, err
	}
	// The name is looked up anew whenever a connection is made.
	conn, err := grpc.NewClient("passthrough:///"+to.address, dialing...)
	if err != nil {
		return nil, fmt.Errorf("METAGOV_ENDPOINT: %w", err)
	}
	return clientOn(conn, line), nil
}

// Close ends the connection, and with it every call and stream.
func (c *Client) Close() error {
	return c.conn.Close()
}

func clientOn(conn *grpc.ClientConn, line *line) *Client {
	return &Client{
		Access:        metagovv1.NewAccessServiceClient(conn),
		Actions:       metagovv1.NewActionServiceClient(conn),
		Communities:   metagovv1.NewCommunityServiceClient(conn),
		Events:        metagovv1.NewEventServiceClient(conn),
		Identities:    metagovv1.NewIdentityServiceClient(conn),
		Plugins:       metagovv1.NewPluginServiceClient(conn),
		Processes:     metagovv1.NewProcessServiceClient(conn),
		Subscriptions: metagovv1.NewSubscriptionServiceClient(conn),
		conn:          conn,
		line:          line,
	}
}

// manners are how every connection behaves.
func manners() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithUserAgent("metagov-go/" + Version),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		// Short, so that a gateway that is back is noticed; who calls waits by rules of
		// its own.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
		// For calls that wait on a connection which somebody on the way has forgotten. No
		// ping is sent while anything comes, such as heartbeats.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 20 * time.Second, Timeout: 5 * time.Second,
		}),
	}
}
