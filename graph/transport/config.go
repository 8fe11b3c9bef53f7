package transport

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"tributary/graph/live"
	"tributary/internal/viewer"
)

// Limits bound what a client may ask. Zero members take the values of DefaultLimits.
type Limits struct {
	Body           int64 // bytes of a request or a socket's message
	Tokens         int   // of a document
	Depth          int
	RootFields     int
	Fields         int // fragments followed
	Points         int
	Page           int // largest `first` and `last`
	Documents      int // kept parsed and validated
	Operation      time.Duration
	InitWait       time.Duration
	Ping           time.Duration
	Write          time.Duration
	Recheck        time.Duration
	Subscriptions  int // a socket
	Sockets        int // a token
	Operations     int // at once on a socket
	QueueBytes     int // waiting for one client
	QueueFrames    int
	StreamComments time.Duration // heartbeat of Server-Sent Events
}

// DefaultLimits are the contract's.
func DefaultLimits() Limits {
	return Limits{
		Body: 64 << 10, Tokens: 1500, Depth: 12, RootFields: 20, Fields: 500, Points: 5000, Page: 100, Documents: 1000,
		Operation: 10 * time.Second, InitWait: 5 * time.Second, Ping: 20 * time.Second, Write: 30 * time.Second,
		Recheck: 5 * time.Second, Subscriptions: 20, Sockets: 100, Operations: 8, QueueBytes: 1 << 20, QueueFrames: 4096,
		StreamComments: 15 * time.Second,
	}
}

// Metrics are told what happens. Every member may be nil.
type Metrics struct {
	Operation func(operation, code string, took time.Duration) // query, mutation, subscription; code "" if without error
	Socket    func(delta int)                                  // open sockets and event streams
	Closed    func(code int)                                   // a socket was closed with this code
	Panic     func()
}

// Config is what a Handler needs. Auth and Live must be set.
type Config struct {
	// Auth finds who holds a token; nil without error if token is empty. Its error means an unusable token.
	Auth func(ctx context.Context, token, remote string) (*viewer.Viewer, error)
	// Recheck asks again for a viewer that Auth gave: the viewer as he is now, nil if the token is void. If nil, open
	// sockets are never asked again.
	Recheck func(ctx context.Context, v *viewer.Viewer) (*viewer.Viewer, error)
	// Refused tells an error of Auth or Recheck that condemns the token from one that says nothing about it, such as a
	// database that is away. If nil, every error condemns.
	Refused func(err error) bool
	// Connected is told of each socket and stream once it is known whose it is; release is called when it ends.
	Connected func(v *viewer.Viewer) (release func())
	// Charge takes points from the bucket of the viewer, or of the address if there is none. If nil, nothing is taken.
	Charge func(ctx context.Context, v *viewer.Viewer, remote string, points int) (remaining int, retry time.Duration, ok bool)
	// Origins says which pages may connect. If nil, only those of the same host. Who sends no Origin is no page.
	Origins func(origin string, r *http.Request) bool
	// Remote is the client's address, trusted proxies looked through. If nil, the connection's.
	Remote func(r *http.Request) string

	Live        *live.Live
	Draining    <-chan struct{} // closed when this node is to give up its clients
	Development bool            // introspection without a token, suggestions
	Limits      Limits
	Logger      *slog.Logger
	Metrics     Metrics
}

// orDefault fills what is zero.
func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	return Limits{
		Body: or(l.Body, d.Body), Tokens: or(l.Tokens, d.Tokens), Depth: or(l.Depth, d.Depth),
		RootFields: or(l.RootFields, d.RootFields), Fields: or(l.Fields, d.Fields), Points: or(l.Points, d.Points),
		Page: or(l.Page, d.Page), Documents: or(l.Documents, d.Documents), Operation: or(l.Operation, d.Operation),
		InitWait: or(l.InitWait, d.InitWait), Ping: or(l.Ping, d.Ping), Write: or(l.Write, d.Write),
		Recheck: or(l.Recheck, d.Recheck), Subscriptions: or(l.Subscriptions, d.Subscriptions),
		Sockets: or(l.Sockets, d.Sockets), Operations: or(l.Operations, d.Operations),
		QueueBytes: or(l.QueueBytes, d.QueueBytes), QueueFrames: or(l.QueueFrames, d.QueueFrames),
		StreamComments: or(l.StreamComments, d.StreamComments),
	}
}

func or[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
