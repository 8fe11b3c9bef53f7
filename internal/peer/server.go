package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of a Server.
const (
	maxRequests = 256              // at once; more are refused
	farewell    = time.Second      // for handlers to see that the grace is over
	readTimeout = 10 * time.Second // for head and body of a request, and as much for the reply
)

// Handler answers one method. ctx ends with the caller's deadline, when the caller leaves, and when the Server's grace
// is over. A *Refusal travels to the caller as it is; any other error goes to the log, and the caller gets ErrFailed.
type Handler func(ctx context.Context, body []byte) ([]byte, error)

// Config says who a Server is. Key, Node and Log are required.
type Config struct {
	Key     *Key
	Node    string // the name that callers must ask for
	Version string // told to who pings
	Log     *slog.Logger
	Grace   time.Duration // for requests under way when Run is to end; 0: 5 seconds
}

// Server answers other nodes. Give it its methods with Handle, then call Run once.
type Server struct {
	c        Config
	handlers map[string]Handler
	slots    chan struct{} // one for each request that is in a handler or about to be
}

// New makes a Server that answers "ping".
func New(c Config) *Server {
	if c.Grace == 0 {
		c.Grace = 5 * time.Second
	}
	s := &Server{c: c, handlers: map[string]Handler{}, slots: make(chan struct{}, maxRequests)}
	s.Handle(ping, func(context.Context, []byte) ([]byte, error) { return json.Marshal(Hello{c.Node, c.Version}) })
	return s
}

// Handle says who answers a method. It panics where two would, like the mux of net/http: both are the program's own.
func (s *Server) Handle(method string, h Handler) {
	if s.handlers[method] != nil {
		panic("peer: two handlers for " + method)
	}
	s.handlers[method] = h
}

// Run answers on l, which it closes, until ctx ends. Then new connections are closed to all, requests under way have a
// few seconds to end, and others on open connections are refused as by a busy node. It returns nil when no handler runs
// any more.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	d := newDoor(l, s.c.Key, s.c.Log)
	base, stop := context.WithCancel(context.WithoutCancel(ctx)) // requests outlive ctx by the grace
	defer stop()
	server := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: readTimeout,
		IdleTimeout:       4 * idleTimeout,
		MaxHeaderBytes:    16 << 10,
		// Who gets this far is one of us, so these lines are few.
		ErrorLog: log.New(&lines{s.c.Log}, "", 0),
	}
	served := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(d.accept)
	running.Go(func() { served <- server.Serve(d) })
	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("answer other nodes: %w", err)
	case <-ctx.Done():
	}
	server.SetKeepAlivesEnabled(false)
	err = errors.Join(err, d.Close())
	if busy := s.drain(maxRequests, s.c.Grace); busy > 0 {
		stop()
		if s.drain(busy, farewell) > 0 {
			err = errors.Join(err, errors.New("answer other nodes: a handler does not end with its context"))
		}
	}
	err = errors.Join(err, server.Close())
	running.Wait()
	return err
}

// drain takes slots as they get free and keeps them, so that no handler begins. It returns how many of n it did not get
// in time.
func (s *Server) drain(n int, patience time.Duration) int {
	late := time.NewTimer(patience)
	defer late.Stop()
	for ; n > 0; n-- {
		select {
		case s.slots <- struct{}{}:
		case <-late.C:
			return n
		}
	}
	return 0
}

// serve takes a request that comes from one of us.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	h, method, status := s.admit(r)
	if status != 0 {
		refuse(w, r, status)
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		refuse(w, r, http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience(r))
	defer cancel()
	body, status := readBody(w, r)
	if status != 0 {
		send(w, status, nil)
		return
	}
	if ctx.Err() != nil { // nobody waits any more: better not to begin
		send(w, http.StatusServiceUnavailable, nil)
		return
	}
	reply, err := s.guarded(ctx, h, method, body)
	s.answer(w, method, reply, err)
}

// admit finds who answers, or the state that says why nobody does.
func (s *Server) admit(r *http.Request) (h Handler, method string, status int) {
	method = strings.TrimPrefix(r.URL.Path, "/")
	node, err := url.QueryUnescape(r.Header.Get(nodeHeader))
	switch {
	case err != nil, patience(r) <= 0, r.Method != http.MethodPost:
		return nil, method, http.StatusBadRequest
	case node != s.c.Node && (node != "" || method != ping):
		return nil, method, http.StatusMisdirectedRequest
	case s.handlers[method] == nil:
		return nil, method, http.StatusNotFound
	case r.ContentLength > MaxBody:
		return nil, method, http.StatusRequestEntityTooLarge
	}
	return s.handlers[method], method, 0
}

// patience is how long the caller still waits, 0 if he does not say.
func patience(r *http.Request) time.Duration {
	ms, err := strconv.ParseInt(r.Header.Get(timeoutHeader), 10, 64)
	if err != nil || ms < 0 || ms > maxTimeout.Milliseconds() {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// readBody reads within a deadline of its own, which then has to go: it would end a handler that takes longer.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, status int) {
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(readTimeout)) // these connections can
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, http.StatusRequestEntityTooLarge
	case err != nil:
		return nil, http.StatusBadRequest
	}
	_ = conn.SetReadDeadline(time.Time{})
	return body, 0
}

// refuse says no to a request that no handler sees. It takes in the body first, since a caller who is still writing when
// the connection ends may never read why.
func refuse(w http.ResponseWriter, r *http.Request, status int) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, MaxBody))
	send(w, status, nil)
}

// send gives an answer to the connection. It has left this process when send returns, so a Server that ends after that
// cuts off nothing.
func send(w http.ResponseWriter, status int, reply []byte) {
	conn := http.NewResponseController(w)
	_ = conn.SetWriteDeadline(time.Now().Add(readTimeout))
	w.Header().Set("Content-Length", strconv.Itoa(len(reply)))
	w.WriteHeader(status)
	_, _ = w.Write(reply) // a caller who has gone knows that he is uncertain
	_ = conn.Flush()
}

// guarded makes an error of a panic: the node goes on.
func (s *Server) guarded(ctx context.Context, h Handler, method string, body []byte) (reply []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.c.Log.Error("peer: handler panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	reply, err = h(ctx, body)
	if err == nil && len(reply) > MaxBody {
		err = errors.New("the reply is too large")
	}
	return reply, err
}

// answer sends a handler's outcome.
func (s *Server) answer(w http.ResponseWriter, method string, reply []byte, err error) {
	var refused *Refusal
	status := http.StatusOK
	switch {
	case errors.As(err, &refused):
		status = http.StatusUnprocessableEntity
		reply, _ = json.Marshal(refused) // two texts cannot fail
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		s.c.Log.Info("peer: handler ran out of time", "method", method, "err", err)
		status, reply = http.StatusInternalServerError, nil
	case err != nil:
		s.c.Log.Error("peer: handler failed", "method", method, "err", err)
		status, reply = http.StatusInternalServerError, nil
	}
	send(w, status, reply)
}

// lines makes log entries of what net/http writes.
type lines struct{ log *slog.Logger }

func (l *lines) Write(p []byte) (int, error) {
	l.log.Warn("peer: connection", "err", strings.TrimSpace(string(p)))
	return len(p), nil
}
