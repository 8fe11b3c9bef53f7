package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

// mood says what the outside may meet without calling it an error.
type mood int

const (
	killing  mood = iota // sockets and calls may break off, answers may not fail
	graceful             // sockets end with 1012, and calls break off only before they are taken
	steady               // nothing breaks off
	outage               // the database is away: answers may fail, too
)

// world is an installation with a platform, agents at work and those who follow, and what is known of it outside.
type world struct {
	*pair
	seed    uint64
	mood    mood
	rest    time.Duration // the longest of those who make traffic
	hooks   [2]*rig.Bridge
	bridge  *ledger.Bridge
	journal *ledger.Journal
	checker *rig.Login
	follow  *ledger.Follower
	agents  []*agent
	streams []*stream // of those who see everything
	start   string    // the cursor from which all follow
	began   time.Time
	renewed time.Time

	stop    atomic.Bool // no more traffic
	busy    atomic.Int64
	traffic sync.WaitGroup // what makes it
	watch   sync.WaitGroup // who follows it
	halt    context.CancelFunc
	await   await
	echo    echo
}

const (
	retryPause = 10 * time.Millisecond
	providers  = 2
	staff      = 3
)

// open builds the installation and its people, and lets them begin.
func open(t testing.TB, m mood, s site) *world {
	t.Helper()
	w := lay(t, m, s)
	w.begin()
	return w
}

// lay builds the installation and its people.
func lay(t testing.TB, m mood, s site) *world {
	t.Helper()
	w := &world{rest: 80 * time.Millisecond * time.Duration(max(s.calm, 1)), seed: ledger.Seed(t), mood: m, pair: build(t, s), journal: ledger.NewJournal()}
	w.bridge = ledger.NewBridge(t, w.seed)
	work := w.nodes[0].NewWorkspace(t)
	w.checker = w.login(work, "Checker", "admin")
	w.learn(w.checker)
	queue := work.Queue(t, "", rig.M{"offerSeconds": 120, "pauseAfterReplySeconds": 1})
	w.hooks = w.doors(work.NewBridge(t, w.bridge.URL, queue, nil))
	w.follow = &ledger.Follower{Login: w.login(work, "Follower", "admin"), Met: w.met, Rest: retryPause}
	w.start = must(t)(w.checker.Ask(context.Background(), `{eventCursor}`, nil)).At("eventCursor").String()
	for n := range 2 {
		w.streams = append(w.streams, &stream{world: w, name: fmt.Sprintf("Watcher%d", n), login: w.login(work, fmt.Sprintf("Watcher%d", n), "admin"), scope: "ALL", node: n})
		w.streams[n].heard = func(e rig.Value) {
			w.await.saw(e)
			w.echo.saw(n, e)
		}
	}
	for n := range staff {
		w.agents = append(w.agents, newAgent(w, work, n))
	}
	return w
}

func (w *world) login(work *rig.Workspace, name, role string) *rig.Login {
	w.t.Helper()
	l := work.NewLogin(w.t, name, role)
	l.Also(w.nodes[1].URL)
	return l
}

// doors are the addresses of one channel's web hook at both nodes.
func (w *world) doors(b *rig.Bridge) (out [2]*rig.Bridge) {
	path := strings.TrimPrefix(b.Hook, w.nodes[0].URL)
	for n := range out {
		out[n] = &rig.Bridge{ID: b.ID, Secret: b.Secret, Hook: w.nodes[n].URL + path}
	}
	return out
}

// begin starts all who follow and all who make traffic.
func (w *world) begin() {
	ctx, halt := context.WithCancel(context.Background())
	w.halt = halt
	w.t.Cleanup(func() { halt(); w.traffic.Wait(); w.watch.Wait() })
	w.began, w.renewed = time.Now(), time.Now()
	following := w.follow.Start(ctx)
	w.watch.Go(func() { <-following })
	for _, s := range w.streams {
		s.begin(ctx)
	}
	for n, a := range w.agents {
		a.stream.begin(ctx)
		w.watch.Go(func() { a.answer(ctx) })
		w.traffic.Go(func() { a.reply(ctx, w.chance(uint64(200+n))) })
	}
	for n := range providers {
		p := &provider{world: w, name: fmt.Sprint("p", n), rng: w.chance(uint64(100 + n)), next: map[string]int{}}
		w.traffic.Go(func() { p.work(ctx) })
	}
}

func (s *stream) begin(ctx context.Context) {
	s.cursor, s.ends = s.world.start, map[int]int{}
	s.world.watch.Go(func() { s.follow(ctx) })
}

func (w *world) chance(n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed, n)) //nolint:gosec // repeatable, not secret
}

// socketMayEnd judges the end of a socket.
func (w *world) socketMayEnd(code int) bool {
	const restart = 1012
	switch w.mood {
	case graceful:
		return code == restart
	case steady:
		return false
	case killing:
		return code == 0
	}
	return true
}

// met tells a node that is away, where the next try goes elsewhere, from one that is there and fails.
func (w *world) met(err error) {
	var said *rig.AnswerError
	switch {
	case w.mood == outage:
	case errors.As(err, &said):
		w.journal.Note("answer: " + said.Text)
		return
	case w.mood == graceful && !brokeOff(err), w.mood == steady:
		w.journal.Note("call: " + err.Error())
		return
	}
	w.journal.Count(&w.journal.Retries)
}

// brokeOff reports that a connection was refused, or ended before an answer began: a kept connection may end while the
// client writes to it.
func brokeOff(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) ||
		strings.Contains(err.Error(), "server closed idle connection")
}

// insist tries a mutation with its key at either node until there is an answer; false if the run was given up before.
func (w *world) insist(ctx context.Context, l *rig.Login, node int, mutation string, vars rig.M) (rig.Value, bool) {
	for ; ctx.Err() == nil; node = 1 - node {
		v, err := l.At(w.nodes[node].URL).Do(ctx, mutation, vars)
		if err == nil {
			v, err = rig.Whole(v)
		}
		if err == nil {
			return v, true
		}
		if ctx.Err() == nil {
			w.met(err)
		}
		rig.Pause(ctx, retryPause)
	}
	return rig.Value{}, false
}

// post delivers a body to either node until it is acknowledged; false if the run was given up before.
func (w *world) post(ctx context.Context, node int, raw []byte) bool {
	w.busy.Add(1)
	defer w.busy.Add(-1)
	for ; ctx.Err() == nil; node = 1 - node {
		code, text, err := w.hooks[node].Post(ctx, raw)
		switch {
		case err != nil:
			if ctx.Err() == nil {
				w.met(err)
			}
		case code == http.StatusOK:
			return true
		case w.mood == outage || w.mood == killing && code == http.StatusServiceUnavailable:
			w.journal.Count(&w.journal.Retries)
		default:
			w.journal.Note(fmt.Sprintf("web hook: %d %s", code, text))
		}
		rig.Pause(ctx, retryPause)
	}
	return false
}

// renew renews the sessions before they end. Nobody may be killed meanwhile.
func (w *world) renew() {
	w.t.Helper()
	if time.Since(w.renewed) < 4*time.Minute {
		return
	}
	w.ready()
	all := []*rig.Login{w.checker, w.follow.Login}
	for _, s := range w.streams {
		all = append(all, s.login)
	}
	for _, a := range w.agents {
		all = append(all, a.login)
	}
	for _, l := range all {
		if err := l.Renew(context.Background()); err != nil {
			w.t.Fatalf("renew a session: %v", err)
		}
	}
	w.renewed = time.Now()
}
