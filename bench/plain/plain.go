// Package plain is a subscription server as gqlgen makes it, with its own handler and its own WebSocket transport: what
// the product's fan-out is measured against. It is the shortest server that a reader of gqlgen's manual would write:
// one channel for each subscriber, one execution and one encoding for each subscriber and event. Nothing is stored.
package plain

//go:generate go tool gqlgen

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"
)

// waiting is how many frames a subscriber may be behind before one is lost to it. The measurement never has so many.
const waiting = 64

// Server tells all subscribers what is published.
type Server struct {
	mu   sync.Mutex
	subs map[chan *Frame]struct{}
	seq  int
}

// New makes a server's handler.
func New() http.Handler {
	h := handler.New(NewExecutableSchema(Config{Resolvers: &Server{subs: map[chan *Frame]struct{}{}}}))
	h.AddTransport(transport.Websocket{KeepAlivePingInterval: 20 * time.Second})
	h.AddTransport(transport.POST{})
	return h
}

// Query is the root of queries.
func (s *Server) Query() QueryResolver { return root{s} }

// Mutation is the root of mutations.
func (s *Server) Mutation() MutationResolver { return root{s} }

// Subscription is the root of subscriptions.
func (s *Server) Subscription() SubscriptionResolver { return root{s} }

type root struct{ *Server }

// Ready is always true.
func (root) Ready(context.Context) (bool, error) { return true, nil }

// Publish tells everybody.
func (r root) Publish(_ context.Context, text string) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	id := strconv.Itoa(r.seq)
	f := &Frame{Cursor: id, Events: []*Event{{Type: "MESSAGE_CREATED", SubjectID: id, Subject: &Message{ID: id, Text: text}}}}
	for c := range r.subs {
		select {
		case c <- f:
		default:
		}
	}
	return len(r.subs), nil
}

// Events is a subscription; it ends with its context.
func (r root) Events(ctx context.Context) (<-chan *Frame, error) {
	c := make(chan *Frame, waiting)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subs, c)
		close(c)
	})
	return c, nil
}
