package calls_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/telephony/siptest"
	"tributary/test/rig"
)

// shortCalls is how many calls a dialect gets.
func shortCalls() int {
	if os.Getenv("TEST_LONG") == "1" {
		return 5000
	}
	return 500
}

// Calls that end at random stages, from every side, leave nothing: no goroutine, no port, no busy agent, no open contact.
func TestShortCallsLeaveNothing(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		seed := uint64(time.Now().UnixNano()) //nolint:gosec // a time is positive
		if s := os.Getenv("SHORT_SEED"); s != "" {
			seed, _ = strconv.ParseUint(s, 10, 64)
		}
		t.Logf("SHORT_SEED=%d", seed)
		d := open(t, url, rig.M{"recording": "NEVER", "ringSeconds": 5, "breakAfterMisses": 0, "offerSeconds": 5})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var agents []*agentAt
		var working sync.WaitGroup
		for n := range 4 {
			a := d.agent(fmt.Sprint("Agent", n))
			agents = append(agents, a)
			a.atRandom(rand.New(rand.NewPCG(seed, uint64(n))))                             //nolint:gosec // a test's own
			working.Go(func() { a.work(ctx, rand.New(rand.NewPCG(seed, uint64(100+n)))) }) //nolint:gosec // a test's own
		}
		before := d.gauge("go_goroutines")
		var outcomes sync.Map
		var failed atomic.Int64
		calls := make(chan int)
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for n := range calls {
					r := rand.New(rand.NewPCG(seed, uint64(1000+n))) //nolint:gosec // a test's own
					if err := d.shortCall(ctx, r, n, &outcomes); err != nil {
						failed.Add(1)
						t.Logf("call %d: %v", n, err)
					}
				}
			})
		}
		for n := range shortCalls() {
			calls <- n
		}
		close(calls)
		callers.Wait()
		outcomes.Range(func(k, v any) bool { t.Logf("%v: %d", k, v.(*atomic.Int64).Load()); return true })
		if n := failed.Load(); n > 0 {
			t.Errorf("%d calls were not taken as they should be", n)
		}
		stop()
		working.Wait()
		d.nothingLeft(agents, before)
	})
}

// shortCall is one call that its caller ends somewhere, if nobody else does.
func (d *desk) shortCall(ctx context.Context, r *rand.Rand, n int, outcomes *sync.Map) error {
	from := fmt.Sprintf("138%08d", n)
	c, err := d.carry.Dial(ctx, siptest.Options{From: from, PAI: "+86" + from, To: "02112345678", NoRTP: r.IntN(2) == 0})
	if err != nil {
		return err
	}
	count := func(what string) {
		v, _ := outcomes.LoadOrStore(what, &atomic.Int64{})
		v.(*atomic.Int64).Add(1)
	}
	give, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if r.IntN(10) == 0 { // before anything
		count("cancelled at once")
		_ = c.Cancel(give)
		return wait(ctx, c)
	}
	if err := c.AwaitAnswer(give); err != nil {
		return fmt.Errorf("not answered: %w", err)
	}
	select {
	case <-c.Ended():
		count("ended by the desk")
		return nil
	case <-time.After(time.Duration(r.IntN(1500)) * time.Millisecond):
		count("ended by the caller")
		_ = c.HangUp(give)
	}
	return wait(ctx, c)
}

func wait(ctx context.Context, c *siptest.Call) error {
	give, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := c.AwaitEnd(give)
	return err
}

// atRandom is a phone that answers and hangs up, declines, or does nothing.
func (a *agentAt) atRandom(r *rand.Rand) {
	var mu sync.Mutex
	draw := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
	a.phone.Behave(func(c *siptest.Call) {
		switch draw(6) {
		case 0:
			_ = c.Decline(486)
		case 1:
			_ = c.Ringing() // and nothing more
		default:
			_ = c.Ringing()
			time.Sleep(time.Duration(draw(100)) * time.Millisecond)
			if c.Answer() != nil {
				return
			}
			if draw(2) == 0 {
				time.Sleep(time.Duration(draw(800)) * time.Millisecond)
				_ = c.HangUp(context.Background())
			}
		}
	})
}

// work takes what is offered, ends some of it, until ctx ends.
func (a *agentAt) work(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		v, err := a.Do(ctx, `{offers{id connecting interaction{call{id}}}}`, nil)
		if err != nil {
			return
		}
		for _, o := range v.At("data", "offers").List() {
			if o.At("connecting").Bool() {
				continue
			}
			if r.IntN(8) == 0 {
				_, _ = a.Do(ctx, `mutation($o:ID!){offerDecline(id:$o){userErrors{code}}}`, rig.M{"o": o.At("id").String()})
				continue
			}
			_, _ = a.Do(ctx, `mutation($o:ID!){offerAccept(id:$o){userErrors{code}}}`, rig.M{"o": o.At("id").String()})
			if r.IntN(4) == 0 {
				rig.Pause(ctx, time.Duration(r.IntN(400))*time.Millisecond)
				_, _ = a.Do(ctx, `mutation($c:ID!){callEnd(id:$c){userErrors{code}}}`, rig.M{"c": o.At("interaction", "call", "id").String()})
			}
		}
		rig.Pause(ctx, 50*time.Millisecond)
	}
}

// nothingLeft waits until the program is as it was.
func (d *desk) nothingLeft(agents []*agentAt, goroutines float64) {
	d.t.Helper()
	d.eventually("no call is open", func() bool {
		v := d.work.Admin.Must(d.t, `{calls(filter:{states:[IN_FLOW,QUEUED,RINGING,ACTIVE,HELD]},first:50){nodes{id state}}}`, nil)
		return len(v.At("calls", "nodes").List()) == 0
	})
	d.eventually("nobody is busy", func() bool {
		for _, a := range agents {
			if d.work.Used(d.t, a.ID) != 0 {
				return false
			}
		}
		return true
	})
	v := d.work.Admin.Must(d.t, `{conversations(first:100,filter:{states:[OPEN]}){nodes{id state}}}`, nil)
	if n := len(v.At("conversations", "nodes").List()); n != 0 {
		d.t.Errorf("%d conversations are still open", n)
	}
	if n := d.mediaPorts(); n != 0 {
		rig.Eventually(d.t, patience, "every port of sound is closed", func() bool { return d.mediaPorts() == 0 })
	}
	rig.Eventually(d.t, 90*time.Second, "no goroutine is left", func() bool { return d.gauge("go_goroutines") <= goroutines+20 })
}

// mediaPorts counts the sockets of the program in its range of sound.
func (d *desk) mediaPorts() (n int) {
	d.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/udp", d.node.Pid()))
	if err != nil {
		d.t.Skip("this system shows no sockets")
	}
	for _, line := range strings.Split(string(b), "\n")[1:] {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		if err == nil && port >= d.media[0] && port <= d.media[1] {
			n++
		}
	}
	return n
}

// gauge is a metric of the program.
func (d *desk) gauge(name string) float64 {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.node.URL+"/metrics", nil)
	ok(d.t, err)
	res, err := http.DefaultClient.Do(req)
	ok(d.t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	ok(d.t, err)
	for _, line := range strings.Split(string(b), "\n") {
		if rest, found := strings.CutPrefix(line, name+" "); found {
			v, err := strconv.ParseFloat(rest, 64)
			ok(d.t, err)
			return v
		}
	}
	d.t.Fatalf("there is no metric %s", name)
	return 0
}
