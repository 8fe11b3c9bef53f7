package bus_test

import (
	"sync"
	"testing"
	"time"

	"tributary/internal/bus"
	"tributary/internal/gid"
)

func TestLocal(t *testing.T) {
	t.Parallel()
	contract(t, func(*testing.T) (bus.Bus, bus.Bus) {
		b := bus.NewLocal()
		return b, b
	})
}

// contract is what every implementation keeps. pair makes two ends of one bus: of one node or of two.
func contract(t *testing.T, pair func(t *testing.T) (here, there bus.Bus)) {
	t.Helper()
	w1, w2 := gid.Make(gid.Workspace), gid.Make(gid.Workspace)
	t.Run("delivers to the topic's listeners", func(t *testing.T) {
		here, there := pair(t)
		logs, jobs, all := there.Listen(bus.Log), there.Listen(bus.Jobs), there.Listen()
		here.Announce(bus.Note{Topic: bus.Log, Workspace: w1, Seq: 3})
		for _, l := range []*bus.Listener{logs, all} {
			collect(t, l, map[bus.Key]int64{{Topic: bus.Log, Workspace: w1}: 3})
		}
		here.Announce(bus.Note{Topic: bus.Jobs})
		collect(t, jobs, map[bus.Key]int64{{Topic: bus.Jobs}: 0})
	})
	t.Run("keeps the newest number of a place", func(t *testing.T) {
		here, there := pair(t)
		l := there.Listen(bus.Log)
		for _, n := range []bus.Note{{bus.Log, w1, 5}, {bus.Log, w2, 1}, {bus.Log, w1, 9}, {bus.Log, w1, 7}} {
			here.Announce(n)
		}
		collect(t, l, map[bus.Key]int64{{Topic: bus.Log, Workspace: w1}: 9, {Topic: bus.Log, Workspace: w2}: 1})
	})
	t.Run("never waits and never grows", func(t *testing.T) { flood(t, pair) })
	t.Run("after close nothing more", func(t *testing.T) {
		here, there := pair(t)
		l, other := there.Listen(bus.Log), there.Listen(bus.Log)
		l.Close()
		here.Announce(bus.Note{Topic: bus.Log, Workspace: w1, Seq: 1})
		collect(t, other, map[bus.Key]int64{{Topic: bus.Log, Workspace: w1}: 1})
		if notes, _ := l.Take(); len(notes) != 0 {
			t.Errorf("a closed listener heard %v", notes)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		here, there := pair(t)
		l := there.Listen(bus.Log)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for n := range 200 {
					here.Announce(bus.Note{Topic: bus.Log, Workspace: w1, Seq: int64(i*200 + n + 1)})
				}
			})
		}
		wg.Wait()
		collect(t, l, map[bus.Key]int64{{Topic: bus.Log, Workspace: w1}: 3200})
	})
}

// flood announces more places than a listener remembers.
func flood(t *testing.T, pair func(t *testing.T) (here, there bus.Bus)) {
	t.Helper()
	here, there := pair(t)
	l := there.Listen(bus.Log)
	for range 20_000 {
		here.Announce(bus.Note{Topic: bus.Log, Workspace: gid.Make(gid.Workspace), Seq: 1})
	}
	held, missed := 0, false
	for deadline := time.Now().Add(10 * time.Second); !missed; {
		select {
		case <-l.C():
		case <-time.After(time.Until(deadline)):
			t.Fatalf("20,000 places were announced; %d are held and nothing is said to be missed", held)
		}
		var notes map[bus.Key]int64
		notes, missed = l.Take()
		held = max(held, len(notes))
	}
	if held > 5000 {
		t.Errorf("%d places were held", held)
	}
}

// collect takes until everything that is wanted has been heard.
func collect(t *testing.T, l *bus.Listener, want map[bus.Key]int64) {
	t.Helper()
	got := map[bus.Key]int64{}
	deadline := time.After(10 * time.Second)
	for {
		notes, missed := l.Take()
		if missed {
			t.Fatal("something was missed")
		}
		for k, v := range notes {
			if _, wanted := want[k]; !wanted {
				t.Fatalf("heard %v", k)
			}
			got[k] = max(got[k], v)
		}
		complete := len(got) == len(want)
		for k, v := range want {
			complete = complete && got[k] == v
		}
		if complete {
			return
		}
		select {
		case <-l.C():
		case <-deadline:
			t.Fatalf("heard %v, want %v", got, want)
		}
	}
}
