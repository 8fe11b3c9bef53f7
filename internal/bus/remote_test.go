package bus_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is one kind of server between two nodes.
type server struct {
	address, prefix string
	open            func(bus.Options) (*bus.Remote, error)
}

var prefixes atomic.Int64

// prefix keeps tests on one server from hearing each other.
func prefix() string { return fmt.Sprintf("t%d_%d", time.Now().UnixNano(), prefixes.Add(1)) }

func ofRedis(address string) server    { return server{address, prefix(), bus.NewRedis} }
func ofPostgres(address string) server { return server{address, prefix(), bus.NewPostgres} }

func TestRedis(t *testing.T) {
	t.Parallel()
	address := testdb.Redis(t)
	contract(t, func(t *testing.T) (bus.Bus, bus.Bus) { return calmPair(t, ofRedis(address)) })
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	address := testdb.PostgresURL(t)
	contract(t, func(t *testing.T) (bus.Bus, bus.Bus) { return calmPair(t, ofPostgres(address)) })
}

// calmPair is two nodes that a busy machine does not make believe that the server is dead.
func calmPair(t *testing.T, s server) (here, there *bus.Remote) {
	t.Helper()
	here, there = s.node(t, nil), s.node(t, nil)
	here.Calm()
	there.Calm()
	runPair(t, here, there)
	return here, there
}

func runPair(t *testing.T, here, there *bus.Remote) {
	t.Helper()
	for _, r := range []*bus.Remote{here, there} {
		run(t, r)
		connected(t, r, true)
	}
}

// node makes a bus that does not run yet. Without a writer its log is dropped.
func (s server) node(t *testing.T, log io.Writer) *bus.Remote {
	t.Helper()
	if log == nil {
		log = io.Discard
	}
	r, err := s.open(bus.Options{URL: s.address, Prefix: s.prefix, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs a node until stop or the test's end, and proves that it ends soon and without an error.
func run(t *testing.T, r *bus.Remote) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(40 * time.Second):
			t.Error("Run does not end")
		}
		if r.State().Connected {
			t.Error("connected after the end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func connected(t *testing.T, r *bus.Remote, want bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); r.State().Connected != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("connected: %v, want %v", !want, want)
		}
	}
}

// awaitMissed waits for the listener to be told that something was missed.
func awaitMissed(t *testing.T, l *bus.Listener) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if _, missed := l.Take(); missed {
			return
		}
		select {
		case <-l.C():
		case <-deadline:
			t.Fatal("nothing is said to be missed")
		}
	}
}

// awaitNew announces until something announced since now has arrived, as a workspace's events do, and gives the time.
func awaitNew(t *testing.T, from bus.Bus, l *bus.Listener) time.Duration {
	t.Helper()
	began, n := time.Now(), bus.Note{Topic: bus.Log, Workspace: gid.Make(gid.Workspace)}
	for time.Since(began) < 20*time.Second {
		n.Seq++
		from.Announce(n)
		time.Sleep(time.Millisecond)
		if notes, _ := l.Take(); notes[bus.Key{Topic: n.Topic, Workspace: n.Workspace}] > 0 {
			return time.Since(began)
		}
	}
	t.Fatal("what was announced afterwards does not arrive")
	return 0
}

// traffic announces all the time until it is stopped.
func traffic(t *testing.T, b bus.Bus) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for seq := int64(1); ; seq++ {
			select {
			case <-end:
				return
			case <-tick.C:
				b.Announce(bus.Note{Topic: bus.Jobs, Seq: seq})
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(end); <-ended })
	t.Cleanup(stop)
	return stop
}

// outage is what every loss of a server comes to: while it is away Announce does not wait and local listeners hear; when
// it is back, both nodes are told that something was missed, and hear each other again. A loss that closes no connection
// is silent: only the pings find it.
func outage(t *testing.T, s server, silent bool, take, giveBack func() error) {
	t.Helper()
	var text log
	here, there := s.node(t, &text), s.node(t, nil)
	if !silent {
		here.Calm()
		there.Calm()
	}
	runPair(t, here, there)
	near, far, beside := here.Listen(bus.Log), there.Listen(bus.Log), here.Listen(bus.Log)
	stop := traffic(t, here)
	awaitNew(t, here, far)
	awaitNew(t, there, near)
	if _, missed := far.Take(); missed && !silent {
		t.Error("missed before anything happened")
	}

	if err := take(); err != nil {
		t.Fatal(err)
	}
	connected(t, here, false)
	connected(t, there, false)
	for _, l := range []*bus.Listener{near, far, beside} {
		l.Take()
	}
	const many = 20_000
	began := time.Now()
	w := gid.Make(gid.Workspace)
	for i := range int64(many) {
		here.Announce(bus.Note{Topic: bus.Log, Workspace: w, Seq: i + 1})
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("%d announcements without a server took %v", many, d)
	}
	if notes, _ := beside.Take(); notes[bus.Key{Topic: bus.Log, Workspace: w}] != many {
		t.Error("a listener of the node itself has not heard at once")
	}

	if err := giveBack(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	awaitMissed(t, far)
	awaitMissed(t, near)
	t.Logf("told %v after the server's return", time.Since(back))
	awaitNew(t, here, far)
	awaitNew(t, there, near)
	d := time.Since(back)
	t.Logf("both hear again %v after the server's return", d)
	if d > 20*time.Second {
		t.Errorf("both hear again after %v", d)
	}
	stop()
	// At the pace of silent deaths a busy machine may take itself for one, too.
	if warned, told := text.count("level=WARN"), text.count("level=INFO"); !silent && (warned != 1 || told != 1) {
		t.Errorf("one outage wrote %d warnings and %d all-clears:\n%s", warned, told, &text)
	}
}

// log keeps what is written.
type log struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *log) count(s string) int { return strings.Count(l.String(), s) }

// kinds runs a test over each server.
func kinds(t *testing.T, f func(t *testing.T, s server)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { f(t, ofRedis(testdb.Redis(t))) })
	t.Run("postgres", func(t *testing.T) { f(t, ofPostgres(testdb.PostgresURL(t))) })
}

func TestConnectingMeansMissed(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, s server) {
		b := s.node(t, nil)
		before := b.State()
		l := b.Listen(bus.Log)
		stop := run(t, b)
		awaitMissed(t, l)
		connected(t, b, true)
		if since := b.State().Since; !since.After(before.Since) {
			t.Errorf("connected since %v, made at %v", since, before.Since)
		}
		stop()
	})
}

// A node hears itself once, in its own process, and not again over the server.
func TestOwnAnnouncementsDoNotComeBack(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, s server) {
		here, there := calmPair(t, s)
		w1, w2 := gid.Make(gid.Workspace), gid.Make(gid.Workspace)
		l := here.Listen(bus.Log)
		far := there.Listen(bus.Log)
		here.Announce(bus.Note{Topic: bus.Log, Workspace: w1, Seq: 1})
		collect(t, l, map[bus.Key]int64{{Topic: bus.Log, Workspace: w1}: 1})
		collect(t, far, map[bus.Key]int64{{Topic: bus.Log, Workspace: w1}: 1})
		// What comes from there comes after the echo.
		there.Announce(bus.Note{Topic: bus.Log, Workspace: w2, Seq: 1})
		collect(t, l, map[bus.Key]int64{{Topic: bus.Log, Workspace: w2}: 1})
	})
}

// More was announced before the connection than the queue holds: the other end is told.
func TestOverflowIsTold(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, s server) {
		here, there := s.node(t, nil), s.node(t, nil)
		here.Calm()
		there.Calm()
		run(t, there)
		connected(t, there, true)
		l := there.Listen(bus.Log)
		for range 5000 {
			here.Announce(bus.Note{Topic: bus.Log, Workspace: gid.Make(gid.Workspace), Seq: 1})
		}
		if _, missed := l.Take(); missed {
			t.Fatal("missed before anything was sent")
		}
		run(t, here)
		awaitMissed(t, l)
		awaitNew(t, here, l)
	})
}

// What was announced before the connection and fits is sent, the newest number of each place.
func TestEarlyAnnouncementsAreSent(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, s server) {
		here, there := s.node(t, nil), s.node(t, nil)
		here.Calm()
		there.Calm()
		run(t, there)
		connected(t, there, true)
		l := there.Listen(bus.Log)
		want := map[bus.Key]int64{}
		for range 1000 {
			w := gid.Make(gid.Workspace)
			here.Announce(bus.Note{Topic: bus.Log, Workspace: w, Seq: 9})
			here.Announce(bus.Note{Topic: bus.Log, Workspace: w, Seq: 4})
			want[bus.Key{Topic: bus.Log, Workspace: w}] = 9
		}
		run(t, here)
		collect(t, l, want)
	})
}

// The last words of a node that stops are what its last transactions have committed.
func TestLastAnnouncementsAreSent(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, s server) {
		for range 20 {
			here, there := s.node(t, nil), s.node(t, nil)
			here.Calm()
			there.Calm()
			stop, stopThere := run(t, here), run(t, there)
			connected(t, here, true)
			connected(t, there, true)
			l := there.Listen(bus.Jobs)
			// While these are under way the last one waits.
			for range 2000 {
				here.Announce(bus.Note{Topic: bus.Log, Workspace: gid.Make(gid.Workspace), Seq: 1})
			}
			here.Announce(bus.Note{Topic: bus.Jobs, Seq: 1})
			stop()
			collect(t, l, map[bus.Key]int64{{Topic: bus.Jobs}: 1})
			stopThere()
		}
	})
}

func TestRunEndsWithoutAServer(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]server{
		"redis": ofRedis("redis://127.0.0.1:1"), "postgres": ofPostgres("postgres://u:secret@127.0.0.1:1/d?sslmode=disable"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var text log
			b := s.node(t, &text)
			stop := run(t, b)
			for deadline := time.Now().Add(20 * time.Second); text.count("level=WARN") == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("nobody is told")
				}
			}
			time.Sleep(300 * time.Millisecond) // some more attempts
			stop()
			if text.count("\n") != 1 || text.count("secret") > 0 {
				t.Errorf("the log of one outage is\n%s", &text)
			}
		})
	}
}

func TestAddressesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		second(bus.NewRedis(bus.Options{URL: "postgres://:secret@h"})),
		second(bus.NewRedis(bus.Options{URL: "redis://:secret@h:x"})),
		second(bus.NewPostgres(bus.Options{URL: "redis://:secret@h"})),
		second(bus.NewPostgres(bus.Options{URL: "postgres://u:secret@h:x/d"})),
		second(bus.NewPostgres(bus.Options{URL: "postgres://u:secret@h/d", Prefix: strings.Repeat("p", 60)})),
	} {
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
}

func second(_ *bus.Remote, err error) error { return err }
