package metagov

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// line knows the connection in use, so that one which is dead can be given up: gRPC would
// go on using it, and hear of its death from the system many minutes later.
type line struct {
	mutex sync.Mutex
	conn  net.Conn
	made  time.Time
}

func (l *line) note(conn net.Conn) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.conn, l.made = conn, time.Now()
}

// cut closes the connection if it is that old. A younger one is somebody's remedy already.
func (l *line) cut(age time.Duration) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.conn != nil && time.Since(l.made) >= age {
		_ = l.conn.Close() // Whose other end is gone, perhaps.
		l.conn = nil
	}
}

// noted are credentials that tell a line of each connection.
type noted struct {
	credentials.TransportCredentials
	line *line
}

// ClientHandshake implements credentials.TransportCredentials.
func (n noted) ClientHandshake(
	ctx context.Context, authority string, conn net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	n.line.note(conn)
	return n.TransportCredentials.ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (n noted) Clone() credentials.TransportCredentials {
	return noted{n.TransportCredentials.Clone(), n.line}
}
