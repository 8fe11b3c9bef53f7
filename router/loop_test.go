package router_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tributary/router"
)

// start runs a loop over the hall until the test ends, and makes sure that it ends. The core may be looked at while
// everything stands still.
func start(t *testing.T, h *hall, l router.Lease) *router.Core {
	t.Helper()
	core := router.New(router.Config{})
	loop, err := router.NewLoop(router.LoopConfig{
		Floor: h, Core: core, Clock: router.ClockOf(time.Now), Lease: l, Batch: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return core
}

// placed waits until nothing moves any more and compares what is placed where.
func placed(t *testing.T, h *hall, want map[int]int) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, a := range want {
		if h.offers[id(i)] != id(a) {
			t.Errorf("item %d is at agent %d, want %d", i, num(h.offers[id(i)]), a)
		}
	}
	if len(h.offers) != len(want) {
		t.Errorf("%d placed, want %d", len(h.offers), len(want))
	}
}

func TestLoopWakesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall(item(1, 0), item(2, 1))
		start(t, h, newLease())
		placed(t, h, map[int]int{})
		h.put(agent(11, 0))
		placed(t, h, map[int]int{1: 11})
		h.put(agent(12, 0, units(9)))
		placed(t, h, map[int]int{1: 11, 2: 12})
		for n := 3; n < 12; n++ {
			h.wait(item(n, n))
		}
		synctest.Wait()
		if n := len(h.offers); n != 10 {
			t.Errorf("%d placed, want all there is room for: 10", n)
		}
		if h.snapshots != 1 {
			t.Errorf("%d snapshots", h.snapshots)
		}
		for _, d := range h.decisions {
			if d.Epoch != 1 {
				t.Errorf("epoch %d", d.Epoch)
			}
		}
	})
}

func TestLoopLosesTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, l := newHall(item(1, 0), item(3, 9, inQueue(id(8003)))), newLease()
		core := start(t, h, l)
		h.put(agent(11, 0))
		placed(t, h, map[int]int{1: 11})
		if n := core.Waiting(); n != 1 {
			t.Errorf("%d wait in memory, want 1", n)
		}
		l.lose(false)
		synctest.Wait()
		if n := core.Waiting(); n != 0 {
			t.Errorf("%d still in memory without the lease", n)
		}
		h.wait(item(2, 1))
		h.put(agent(12, 0))
		time.Sleep(time.Minute)
		placed(t, h, map[int]int{1: 11}) // somebody else leads
		l.give()
		placed(t, h, map[int]int{1: 11, 2: 12})
		if last := h.decisions[len(h.decisions)-1]; last.Epoch != 2 || h.snapshots != 2 {
			t.Errorf("epoch %d after %d snapshots, want 2 and 2", last.Epoch, h.snapshots)
		}
	})
}

func TestLoopStopsWhenACommitSaysLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, l := newHall(item(1, 0), item(2, 1)), newLease()
		h.epoch = 2 // the row of the lease is ahead of us
		start(t, h, l)
		h.put(agent(11, 0, units(2)))
		synctest.Wait()
		l.give()
		time.Sleep(5 * time.Second)
		placed(t, h, map[int]int{1: 11, 2: 11})
		if h.commits != 2 || l.held != 2 {
			t.Errorf("%d commits in %d leaderships, want one in each of two", h.commits, l.held)
		}
	})
}

func TestLoopSurvivesConflicts(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHall(item(1, 0), item(2, 1))
			start(t, h, newLease())
			synctest.Wait()
			// Between decision and commit, item 1 is claimed by hand and agent 11 becomes busy. If nobody tells,
			// the loop still finds out, and what nobody changed is placed meanwhile.
			h.meanwhile(func() {
				delete(h.items, id(1))
				a := h.agents[id(11)]
				a.Used, a.LoadVersion = 1, a.LoadVersion+1
				h.agents[id(11)] = a
				if !silent {
					h.log = append(h.log, router.Changes{Removed: []router.ID{id(1)}, Agents: []router.Agent{a}})
				}
			})
			h.put(agent(11, 0), agent(12, 1))
			placed(t, h, map[int]int{2: 12})
			time.Sleep(10 * time.Second)
			synctest.Wait()
			want := 1
			if silent {
				want = 2
			}
			if h.snapshots != want {
				t.Errorf("silent %v: %d snapshots, want %d", silent, h.snapshots, want)
			}
			a := agent(11, 0)
			a.LoadVersion = 9
			h.put(a)
			h.wait(item(3, 2))
			placed(t, h, map[int]int{2: 12, 3: 11})
		})
	}
}

func TestLoopBacksOffFromErrors(t *testing.T) {
	t.Parallel()
	bad := errors.New("database is away")
	for _, call := range []string{"snapshot", "changes", "commit", "resync", "outcomes", "shuffled", "unknown"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHall(item(1, 0), item(2, 1))
			h.put(agent(11, 0, units(2)))
			h.fault = func(at string) error {
				if at == call {
					return bad
				}
				return nil
			}
			start(t, h, newLease())
			time.Sleep(time.Minute)
			synctest.Wait()
			// 100 ms doubling to 5 s, half of each by chance: between 12+6 and 24+7 tries in a minute.
			if h.calls[call] < 15 || h.calls[call] > 35 {
				t.Errorf("%s: %d tries in a minute", call, h.calls[call])
			}
			h.mu.Lock()
			h.fault = nil
			h.mu.Unlock()
			time.Sleep(6 * time.Second)
			placed(t, h, map[int]int{1: 11, 2: 11})
		})
	}
}

func TestLoopForgetsOldErrors(t *testing.T) {
	t.Parallel()
	for _, quiet := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHall()
			fail := func(call string) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.fault = func(at string) error {
					if at == call {
						return errors.New("database is away")
					}
					return nil
				}
				h.told(router.Changes{})
			}
			start(t, h, newLease())
			fail("changes")
			time.Sleep(time.Minute)
			fail("")
			time.Sleep(10 * time.Second)
			// What ends a series of errors is a change that came through, or a quiet while.
			if quiet {
				time.Sleep(time.Minute)
			} else {
				h.wait(item(1, 0))
				synctest.Wait()
			}
			fail("changes")
			synctest.Wait()
			fail("")
			h.wait(item(2, 0))
			h.put(agent(11, 0, units(2)))
			time.Sleep(200 * time.Millisecond)
			synctest.Wait()
			if h.offers[id(2)] != id(11) {
				t.Errorf("quiet %v: still waiting as if errors had gone on", quiet)
			}
		})
	}
}

func TestLoopDoesNotSpin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		h.fault = func(at string) error {
			if at == "empty" {
				return errors.New("nothing happened")
			}
			return nil
		}
		start(t, h, newLease())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if h.calls["changes"] > 250 {
			t.Errorf("%d empty answers asked for in 10 s", h.calls["changes"])
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h, l := newHall(), newLease()
		l.lose(true)
		start(t, h, l)
		time.Sleep(time.Minute)
		synctest.Wait()
		if l.held < 15 || l.held > 35 {
			t.Errorf("%d leaderships tried in a minute", l.held)
		}
	})
}

func TestTwoLeadersPlaceNothingTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHall()
		start(t, h, newLease())
		start(t, h, newLease())
		for n := 1; n <= 200; n++ {
			h.wait(item(n, n))
			h.put(agent(1000+n, 0))
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		var got []router.ID
		for _, a := range h.offers {
			got = append(got, a)
		}
		slices.SortFunc(got, router.ID.Compare)
		if n := len(slices.Compact(got)); n != 200 {
			t.Errorf("200 items are at %d agents of one unit each", n)
		}
	})
}

func TestNewLoopNeedsItsPorts(t *testing.T) {
	t.Parallel()
	if _, err := router.NewLoop(router.LoopConfig{}); err == nil {
		t.Error("a loop without ports")
	}
}
