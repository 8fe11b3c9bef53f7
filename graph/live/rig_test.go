package live_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"

	"tributary/graph/exec"
	"tributary/graph/live"
	"tributary/graph/live/livetest"
	"tributary/graph/model"
	"tributary/graph/transport"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// rig is a Live over a log in memory, with the real executor.
type rig struct {
	*livetest.Log
	live *live.Live
	root *livetest.Root
	exec graphql.GraphExecutor
}

func newRig(t testing.TB, change func(*live.Config)) *rig {
	t.Helper()
	log := livetest.NewLog()
	cfg := log.Config()
	if change != nil {
		change(&cfg)
	}
	r := &rig{Log: log, live: live.New(cfg)}
	r.root = &livetest.Root{Live: r.live}
	r.exec = executor.New(exec.NewExecutableSchema(exec.Config{Resolvers: r.root, Directives: transport.Directives()}))
	return r
}

func (r *rig) close(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.live.Close(ctx); err != nil {
		t.Error("close:", err)
	}
}

// sink keeps what it is told.
type sink struct {
	mu     sync.Mutex
	got    []string
	frames []frame
	failed string
	moved  chan struct{}
	full   bool
}

type frame struct {
	Cursor      page.EventCursor
	CaughtUp    bool
	ResetReason *model.ResetReason
	Events      []struct {
		Changed []string
		Subject *struct{ ID string }
	}
}

func newSink() *sink { return &sink{moved: make(chan struct{})} }

func (s *sink) Next(b []byte) {
	var m struct {
		Data struct {
			Events        *json.RawMessage
			VisitorEvents *json.RawMessage
		}
	}
	var raw struct {
		Cursor      string
		CaughtUp    bool
		ResetReason *model.ResetReason
		Events      []struct {
			Changed []string
			Subject *struct{ ID string }
		}
	}
	if err := json.Unmarshal(b, &m); err != nil {
		panic(err)
	}
	if m.Data.Events != nil {
		_ = json.Unmarshal(*m.Data.Events, &raw)
	} else if m.Data.VisitorEvents != nil {
		_ = json.Unmarshal(*m.Data.VisitorEvents, &raw)
	}
	f := frame{CaughtUp: raw.CaughtUp, ResetReason: raw.ResetReason, Events: raw.Events}
	if raw.Cursor != "" {
		if err := f.Cursor.UnmarshalGQL(raw.Cursor); err != nil {
			panic(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(b))
	s.frames = append(s.frames, f)
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *sink) Fail(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = string(b)
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *sink) Wait(ctx context.Context) error {
	s.mu.Lock()
	full := s.full
	s.mu.Unlock()
	if full {
		<-ctx.Done()
	}
	return ctx.Err()
}

// texts are the events told so far.
func (s *sink) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, f := range s.frames {
		for _, e := range f.Events {
			out = append(out, e.Changed...)
		}
	}
	return out
}

func (s *sink) all() []frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frames
}

func (s *sink) last() frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.frames) == 0 {
		return frame{}
	}
	return s.frames[len(s.frames)-1]
}

// until waits for something to be true of the sink.
func (s *sink) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		s.mu.Lock()
		moved := s.moved
		s.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-moved:
		case <-deadline:
			t.Fatalf("%s did not come; got %q, failed %q", what, s.got, s.failed)
		}
	}
}

const all = `subscription($a: EventCursor) { events(after: $a, filter: {scope: ALL}) { cursor caughtUp resetReason events { changed } } }`

func (r *rig) join(t testing.TB, v *viewer.Viewer, query string, after *page.EventCursor) (*live.Member, *sink) {
	t.Helper()
	s := newSink()
	return r.joinSink(t, v, query, after, s), s
}

func (r *rig) joinSink(t testing.TB, v *viewer.Viewer, query string, after *page.EventCursor, s *sink) *live.Member {
	t.Helper()
	vars := map[string]any{}
	if after != nil {
		vars["a"] = after.String()
	}
	ctx := graphql.StartOperationTrace(viewer.With(context.Background(), v))
	oc, errs := r.exec.CreateOperationContext(ctx, &graphql.RawParams{Query: query, Variables: vars})
	if errs != nil {
		t.Fatal(errs)
	}
	return r.live.Join(ctx, r.exec, oc, s)
}

func (s *sink) ready(t testing.TB) {
	t.Helper()
	s.until(t, "caughtUp", func() bool { return s.last().CaughtUp })
}
