package kill_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tributary/test/rig"
)

const askEvents = `query($a:EventCursor,$f:EventFilter){events(after:$a,first:100,filter:$f){cursor caughtUp resetReason
 events{id cursor type subjectId subjectVersion subject{... on Message{externalId direction}}}}}`

// follower pulls the feed of new messages through all lives of the program with one cursor: it sees each message when an
// agent's screen would.
type follower struct {
	run   *run
	login *rig.Login

	mu     sync.Mutex
	seen   map[string]int // inbound, by external id
	ids    []string       // subjects of MESSAGE_CREATED, in the order of the feed
	resets []string
}

func (f *follower) start(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		cursor := ""
		for ctx.Err() == nil {
			frame, err := pull(ctx, f.login, cursor, rig.M{"scope": "ALL", "types": []string{"MESSAGE_CREATED"}})
			if err != nil {
				if ctx.Err() == nil {
					f.run.met(err)
				}
				pause(ctx, retryPause)
				continue
			}
			f.take(frame)
			cursor = frame.At("cursor").String()
			if frame.At("caughtUp").Bool() {
				pause(ctx, 25*time.Millisecond)
			}
		}
	}()
	return done
}

func (f *follower) take(frame rig.Value) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if why := frame.At("resetReason"); !why.Nil() {
		f.resets = append(f.resets, why.String())
	}
	for _, e := range frame.At("events").List() {
		f.ids = append(f.ids, e.At("subjectId").String())
		if e.At("subject", "direction").String() == "INBOUND" {
			f.seen[e.At("subject", "externalId").String()]++
		}
	}
}

func (f *follower) has(externalID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[externalID] > 0
}

// pull reads one frame; one without a cursor is an error.
func pull(ctx context.Context, l *rig.Login, after string, filter rig.M) (rig.Value, error) {
	vars := rig.M{"f": filter}
	if after != "" {
		vars["a"] = after
	}
	v, err := l.Ask(ctx, askEvents, vars)
	if err != nil {
		return rig.Value{}, err
	}
	frame := v.At("events")
	if frame.At("cursor").String() == "" {
		return rig.Value{}, errors.New("a frame without a cursor: " + frame.JSON())
	}
	if _, ok := frame.At("events").V.([]any); !ok {
		return rig.Value{}, fmt.Errorf("a frame without events: %s", frame.JSON())
	}
	return frame, nil
}
