package bus_test

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/redis"
	"tributary/internal/testdb"
)

func redisClient(t *testing.T, address string) *goredis.Client {
	t.Helper()
	c, err := redis.Open(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRedisKilledAndStarted(t *testing.T) {
	t.Parallel()
	address, s := testdb.PrivateRedis(t)
	outage(t, ofRedis(address), false, s.Kill, s.Start)
}

// A server that takes the connection and says nothing is away, too.
func TestRedisFallsSilent(t *testing.T) {
	t.Parallel()
	address, _ := testdb.PrivateRedis(t)
	info, err := redisClient(t, address).Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "process_id:")
	pid, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	outage(t, ofRedis(address), true,
		func() error { return syscall.Kill(pid, syscall.SIGSTOP) },
		func() error { return syscall.Kill(pid, syscall.SIGCONT) })
}

// TestRedisEmptied: nothing of a wake-up is kept in Redis, so FLUSHALL takes nothing away.
func TestRedisEmptied(t *testing.T) {
	t.Parallel()
	address, _ := testdb.PrivateRedis(t)
	here, there := calmPair(t, ofRedis(address))
	l := there.Listen(bus.Log)
	stop := traffic(t, here)
	defer stop()
	awaitNew(t, here, l)
	if err := redisClient(t, address).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("heard again %v after FLUSHALL", awaitNew(t, here, l))
	if !here.State().Connected || !there.State().Connected {
		t.Error("FLUSHALL cut a connection")
	}
}

// The subscription alone dies silently, as behind a firewall that forgets connections; publishing goes on.
func TestRedisSubscriptionFallsSilent(t *testing.T) {
	t.Parallel()
	address, _ := testdb.PrivateRedis(t)
	direct := ofRedis(address)
	through, swallow := proxy(t, strings.TrimPrefix(address, "redis://"))
	behind := direct
	behind.address = "redis://" + through
	here, there := direct.node(t, nil), behind.node(t, nil)
	runPair(t, here, there)
	l := there.Listen(bus.Log)
	awaitNew(t, here, l)
	l.Take()
	swallow()
	began := time.Now()
	awaitMissed(t, l)
	awaitNew(t, here, l)
	t.Logf("noticed and mended after %v", time.Since(began))
}

// proxy passes connections on. swallow makes it drop what comes on the first one, which stays open.
func proxy(t *testing.T, to string) (address string, swallow func()) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var silent atomic.Bool
	var wg sync.WaitGroup
	pass := func(from, to net.Conn, first bool) {
		defer to.Close()
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			if first && silent.Load() {
				continue
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for first := true; ; first = false {
			in, err := lis.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			wg.Go(func() { pass(in, out, first) })
			wg.Go(func() { pass(out, in, first) })
		}
	})
	// After the nodes, which were made later, have closed theirs.
	t.Cleanup(func() { lis.Close(); wg.Wait() })
	return lis.Addr().String(), func() { silent.Store(true) }
}

// An operator cuts only the connections that listen.
func TestRedisSubscribersCut(t *testing.T) {
	t.Parallel()
	address, _ := testdb.PrivateRedis(t)
	here, there := calmPair(t, ofRedis(address))
	l := there.Listen(bus.Log)
	awaitNew(t, here, l)
	l.Take()
	if err := redisClient(t, address).Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	awaitMissed(t, l)
	awaitNew(t, here, l)
}

// A server that lets a node listen but not speak counts as away. What the node could not say it says later; the other
// end has missed nothing.
func TestRedisRefusesToPublish(t *testing.T) {
	t.Parallel()
	address, _ := testdb.PrivateRedis(t)
	admin := redisClient(t, address)
	let := func(rule string) {
		t.Helper()
		if err := admin.Do(t.Context(), "ACL", "SETUSER", "default", rule).Err(); err != nil {
			t.Fatal(err)
		}
	}
	s := ofRedis(address)
	var text log
	here, there := s.node(t, &text), s.node(t, nil)
	here.Calm()
	there.Calm()
	runPair(t, here, there)
	l := there.Listen(bus.Log)
	let("-publish")
	w := gid.Make(gid.Workspace)
	here.Announce(bus.Note{Topic: bus.Log, Workspace: w, Seq: 1})
	connected(t, here, false)
	time.Sleep(300 * time.Millisecond) // some more attempts
	if here.State().Connected {
		t.Error("connected, and cannot send")
	}
	let("+publish")
	collect(t, l, map[bus.Key]int64{{Topic: bus.Log, Workspace: w}: 1})
	connected(t, here, true)
	if n := text.count("\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, &text)
	}
}

func TestRedisForeignPayloads(t *testing.T) {
	t.Parallel()
	address := testdb.Redis(t)
	s := ofRedis(address)
	here, there := calmPair(t, s)
	l := there.Listen()
	admin := redisClient(t, address)
	channels, err := admin.PubSubChannels(t.Context(), s.prefix+"*").Result()
	if err != nil || len(channels) != 1 {
		t.Fatal(channels, err)
	}
	for _, p := range foreign {
		if err := admin.Publish(t.Context(), channels[0], p).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w := gid.Make(gid.Workspace)
	here.Announce(bus.Note{Topic: bus.Log, Workspace: w, Seq: 1})
	collect(t, l, map[bus.Key]int64{{Topic: bus.Log, Workspace: w}: 1})
}

// Pub/Sub knows no databases; our channels do.
func TestRedisDatabasesAreApart(t *testing.T) {
	t.Parallel()
	address, _ := testdb.PrivateRedis(t)
	s := ofRedis(address + "/1")
	here, there := calmPair(t, s)
	s.address = address + "/2"
	elsewhere, _ := calmPair(t, s)
	l, other := there.Listen(), elsewhere.Listen()
	w := gid.Make(gid.Workspace)
	here.Announce(bus.Note{Topic: bus.Log, Workspace: w, Seq: 1})
	collect(t, l, map[bus.Key]int64{{Topic: bus.Log, Workspace: w}: 1})
	if notes, _ := other.Take(); len(notes) > 0 {
		t.Errorf("another database hears %v", notes)
	}
}
