package metagov

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// plaintext is no TLS, but knows it when the other side wants some: all that gRPC would
// say is that the connection was closed.
type plaintext struct {
	credentials.TransportCredentials
}

func newPlaintext() credentials.TransportCredentials {
	return plaintext{insecure.NewCredentials()}
}

// ClientHandshake implements credentials.TransportCredentials.
func (p plaintext) ClientHandshake(
	ctx context.Context, authority string, conn net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	return p.TransportCredentials.ClientHandshake(ctx, authority, &listening{Conn: conn})
}

// Clone implements credentials.TransportCredentials.
func (p plaintext) Clone() credentials.TransportCredentials {
	return plaintext{p.TransportCredentials.Clone()}
}

// listening is a connection whose first bytes are looked at.
type listening struct {
	net.Conn
	heard bool
}

var errTLSAlert = errors.New("tls: an alert is all that was answered to plaintext")

func (l *listening) Read(into []byte) (int, error) {
	n, err := l.Conn.Read(into)
	if !l.heard && n > 1 {
		l.heard = true
		// An alert of any version. HTTP/2 would begin with the length of a small frame.
		if into[0] == 21 && into[1] == 3 {
			return 0, errTLSAlert
		}
	}
	return n, err
}
