package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tributary/test/rig"
)

const askEvents = `query($a:EventCursor,$f:EventFilter){events(after:$a,first:100,filter:$f){cursor caughtUp resetReason
 events{id cursor type at subjectId subjectVersion interactionId subject{... on Message{externalId direction} ... on Offer{agent{id}}}}}}`

// Follower pulls the feed of new messages through all lives of the program with one cursor: it sees each message when an
// agent's screen would.
type Follower struct {
	Login *rig.Login
	Met   func(error) // what becomes of a try in vain
	Rest  time.Duration

	mu     sync.Mutex
	seen   map[string]int // inbound, by external id
	ids    []string       // subjects of MESSAGE_CREATED, in the order of the feed
	resets []string
}

// Start follows until ctx ends; the channel is closed when it has ended.
func (f *Follower) Start(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	f.seen = map[string]int{}
	go func() {
		defer close(done)
		cursor := ""
		for ctx.Err() == nil {
			frame, err := pull(ctx, f.Login, cursor, rig.M{"scope": "ALL", "types": []string{"MESSAGE_CREATED"}})
			if err != nil {
				if ctx.Err() == nil {
					f.Met(err)
				}
				rig.Pause(ctx, f.Rest)
				continue
			}
			f.take(frame)
			cursor = frame.At("cursor").String()
			if frame.At("caughtUp").Bool() {
				rig.Pause(ctx, 25*time.Millisecond)
			}
		}
	}()
	return done
}

func (f *Follower) take(frame rig.Value) {
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

// Has reports whether an inbound message was seen.
func (f *Follower) Has(externalID string) bool {
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
