package tokens_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tributary/channels"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/testdb"
	"tributary/internal/tokens"
)

var (
	_ channels.Tokens = (*tokens.Tokens)(nil)
	_ channels.Lock   = (*tokens.Lock)(nil)
	_ channels.Lease  = (*tokens.Lease)(nil)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hash = "6f1ed002ab5595859014ebf0951522d9"

var errReused = errors.New("the refresh token was used before")

// provider gives tokens for an hour and takes each refresh token once.
type provider struct {
	clock *atomic.Int64

	mu      sync.Mutex
	next    string // the one refresh token that it takes
	calls   int
	reused  int
	life    time.Duration
	fail    error
	forgets bool // takes every refresh token, any number of times

	slow             time.Duration
	inside, together atomic.Int32 // refreshes under way; those that began beside another
}

func (p *provider) answer(old channels.Token) (channels.Token, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.fail != nil {
		return channels.Token{}, p.fail
	}
	if old.Refresh != p.next && !p.forgets {
		p.reused++
		return channels.Token{}, errReused
	}
	p.next = fmt.Sprintf("rotating-%d", p.calls)
	return channels.Token{Value: fmt.Sprintf("value-%d", p.calls), Refresh: p.next, ExpiresAt: p.now().Add(p.life)}, nil
}

func (p *provider) refresh(_ context.Context, old channels.Token) (channels.Token, error) {
	if p.slow > 0 { // time for a second one, which must not come
		if p.inside.Add(1) > 1 {
			p.together.Add(1)
		}
		<-time.After(p.slow)
		defer p.inside.Add(-1)
	}
	return p.answer(old)
}

func (p *provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *provider) asked(t *testing.T, want int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls != want {
		t.Errorf("the provider was asked %d times, want %d", p.calls, want)
	}
}

func (p *provider) now() time.Time { return time.Now().UTC().Add(time.Duration(p.clock.Load())) }

// rig is two nodes over one database, with a clock that the test moves.
type rig struct {
	*provider
	t     *testing.T
	clock atomic.Int64
	store [2]*store.Store
	node  [2]*tokens.Tokens
	log   *logs
	// traced is called with each statement of ent.
	traced atomic.Pointer[func(query string)]
}

type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// each runs f with two nodes on both dialects.
func each(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		r := &rig{t: t, log: &logs{}}
		r.provider = &provider{clock: &r.clock, life: time.Hour}
		trace := func(_ context.Context, query string) {
			if f := r.traced.Load(); f != nil {
				(*f)(query)
			}
		}
		for n := range r.store {
			r.store[n] = storetest.Open(t, store.Config{URL: url, MaxOpen: 6, Trace: trace})
			r.node[n] = tokens.New(r.store[n], tokens.Config{Node: fmt.Sprint("node-", n), Now: r.now, Log: slog.New(slog.NewTextHandler(r.log, nil))})
			r.node[n].Hasten()
		}
		f(t, r)
		for _, secret := range []string{"value-", "rotating-"} {
			if strings.Contains(r.log.String(), secret) {
				t.Errorf("the log holds a token: %s", r.log)
			}
		}
	}, storetest.Template)
}

func (r *rig) trace(f func(query string)) { r.traced.Store(&f) }

func (r *rig) add(d time.Duration) { r.clock.Add(int64(d)) }

func (r *rig) use(n int) channels.Token {
	r.t.Helper()
	x, err := r.node[n].Use(r.t.Context(), "acme", hash, r.refresh)
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

// untouched is a refresh that must not be.
func (r *rig) untouched(context.Context, channels.Token) (channels.Token, error) {
	r.t.Error("the provider was asked for nothing")
	return channels.Token{}, errReused
}

func (r *rig) exec(query string, args ...any) {
	r.t.Helper()
	if _, err := r.store[0].DB.ExecContext(r.t.Context(), r.store[0].SQL(query), args...); err != nil {
		r.t.Fatal(err)
	}
}

// all runs f fifty times at once on both nodes and gives the one token that all got.
func (r *rig) all(f func(n int) (channels.Token, error)) channels.Token {
	r.t.Helper()
	var wg sync.WaitGroup
	got := make([]channels.Token, 50)
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = f(i % 2); err != nil {
				r.t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, x := range got {
		if x != got[0] {
			r.t.Errorf("one got version %d, another %d", got[0].Version, x.Version)
		}
	}
	return got[0]
}

func TestFiftyOnTwoNodesRefreshOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		for n := range r.node {
			r.node[n].Patient(30 * time.Second) // a busy machine is no failure
		}
		r.slow = 200 * time.Millisecond
		use := func(n int) (channels.Token, error) {
			return r.node[n].Use(t.Context(), "acme", hash, r.refresh)
		}
		first := r.all(use)
		r.asked(t, 1)
		r.add(56 * time.Minute)
		second := r.all(use)
		r.asked(t, 2)
		// The provider refuses it although it lives.
		third := r.all(func(n int) (channels.Token, error) {
			return r.node[n].Renew(t.Context(), "acme", hash, second, r.refresh)
		})
		r.asked(t, 3)
		if first.Version != 1 || second.Version != 2 || third.Version != 3 || third.Value != "value-3" {
			t.Errorf("versions %d, %d, %d", first.Version, second.Version, third.Version)
		}
		if r.reused > 0 || r.together.Load() > 0 {
			t.Errorf("%d reused a refresh token, %d refreshed beside another", r.reused, r.together.Load())
		}
		if _, turns := r.node[0].InMemory(); turns != 0 {
			t.Errorf("%d credentials have somebody who waits", turns)
		}
	})
}

func TestAValidTokenCostsNoStatement(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		first := r.use(0)
		ctx, count := store.Count(t.Context())
		for range 3 {
			if x, err := r.node[0].Use(ctx, "acme", hash, r.untouched); err != nil || x != first {
				t.Errorf("version %d, %v", x.Version, err)
			}
		}
		if count.N() != 0 {
			t.Errorf("statements: %v", count.Statements())
		}
		r.add(30 * time.Second)
		if _, err := r.node[0].Use(ctx, "acme", hash, r.untouched); err != nil || count.N() != 1 {
			t.Errorf("after half a minute %d statements, %v", count.N(), err)
		}
	})
}

func TestATokenLivesForFiveMinutesAtLeast(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		// The wall clock runs beside: a minute keeps it out of the question.
		r.use(0)
		r.add(54 * time.Minute)
		r.use(0)
		r.use(1)
		r.asked(t, 1)
		r.add(time.Minute + time.Second)
		r.use(1)
		r.asked(t, 2)
		if x := r.use(0); x.Version != 2 {
			t.Errorf("the other node has version %d", x.Version)
		}
		r.asked(t, 2)
		r.set(func() { r.life = time.Minute })
		r.add(time.Hour)
		if _, err := r.node[0].Use(t.Context(), "acme", hash, r.refresh); err == nil {
			t.Error("a token of a minute was handed out")
		}
		r.asked(t, 3)
		r.set(func() { r.life = time.Hour })
		r.use(0) // by the refresh token that came with the short one
		r.asked(t, 4)
		endless := func(context.Context, channels.Token) (channels.Token, error) {
			return channels.Token{Value: "endless"}, nil
		}
		x, err := r.node[0].Renew(t.Context(), "acme", hash, r.use(0), endless)
		r.add(1000 * time.Hour)
		for n := range r.node {
			if y, err := r.node[n].Use(t.Context(), "acme", hash, r.untouched); err != nil || x.Value != "endless" || y != x {
				t.Errorf("a token that never ends is now %+v (%v)", y.Version, err)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func TestARefusedTokenThatAnotherNodeReplacedIsNotRefreshed(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		old := r.use(0)
		r.use(1) // now in the memory of both
		replaced, err := r.node[1].Renew(t.Context(), "acme", hash, old, r.refresh)
		if err != nil {
			t.Fatal(err)
		}
		if x := r.use(0); x != old {
			t.Fatalf("this node knows version %d already", x.Version)
		}
		x, err := r.node[0].Renew(t.Context(), "acme", hash, old, r.untouched)
		if err != nil || x != replaced {
			t.Errorf("version %d, %v", x.Version, err)
		}
		// A second complaint about the old one needs no look at the row.
		ctx, count := store.Count(t.Context())
		if x, err = r.node[0].Renew(ctx, "acme", hash, old, r.untouched); err != nil || x != replaced || count.N() != 0 {
			t.Errorf("version %d, %v, statements %v", x.Version, err, count.Statements())
		}
		r.asked(t, 2)
		if x, err = r.node[0].Renew(ctx, "acme", hash, replaced, r.refresh); err != nil || x.Version != 3 {
			t.Errorf("its own refusal gives version %d, %v", x.Version, err)
		}
	})
}

func TestARefreshIsSavedAlthoughItsCallerWentAway(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.use(0)
		r.add(56 * time.Minute)
		ctx, leave := context.WithCancel(t.Context())
		_, _ = r.node[0].Use(ctx, "acme", hash, func(ctx context.Context, old channels.Token) (channels.Token, error) {
			fresh, err := r.answer(old) // the provider has ended the old refresh token
			leave()
			if ctx.Err() != nil {
				return channels.Token{}, ctx.Err()
			}
			return fresh, err
		})
		if x := r.use(1); x.Value != "value-2" {
			t.Errorf("the other node got %d", x.Version)
		}
		r.asked(t, 2)
		if _, err := r.node[0].Renew(ctx, "acme", hash, r.use(0), r.untouched); !errors.Is(err, context.Canceled) {
			t.Errorf("who has left before: %v", err)
		}
	})
}

func TestWhoWaitsInVainReadsAgain(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		first := r.use(0)
		r.node[1].Patient(200 * time.Millisecond)
		began, end := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		r.add(56 * time.Minute)
		wg.Go(func() {
			_, err := r.node[0].Use(t.Context(), "acme", hash, func(_ context.Context, old channels.Token) (channels.Token, error) {
				close(began)
				<-end
				return r.answer(old)
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-began
		if _, err := r.node[1].Use(t.Context(), "acme", hash, r.untouched); err == nil || channels.ClassOf(err) != channels.ClassRetry {
			t.Errorf("who waited for a slow provider got %v", err)
		}
		// The row is good again while one waits, and its lease is not free: the second look finds it.
		looked := 0
		r.trace(func(string) {
			if looked++; looked == 2 {
				r.add(-30 * time.Minute)
			}
		})
		r.node[1].Patient(100 * time.Millisecond)
		x, err := r.node[1].Renew(t.Context(), "acme", hash, channels.Token{Value: "older"}, r.untouched)
		if err != nil || x != first {
			t.Errorf("version %d, %v", x.Version, err)
		}
		r.trace(func(string) {})
		close(end)
		wg.Wait()
		r.asked(t, 2)
	})
}

func TestAFailureGoesToItsCallerAndWhoWaitsTriesHimself(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		first := r.use(0)
		r.add(56 * time.Minute)
		r.node[0].Patient(30 * time.Second)
		r.node[1].Patient(30 * time.Second)
		began, end := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := r.node[0].Use(t.Context(), "acme", hash, func(_ context.Context, old channels.Token) (channels.Token, error) {
				close(began)
				<-end
				return channels.Token{}, channels.AuthBroken(fmt.Errorf("get https://acme.example/?t=%s&r=%s: refused", old.Value, old.Refresh))
			})
			if channels.ClassOf(err) != channels.ClassAuthBroken || strings.Contains(err.Error(), first.Value) || strings.Contains(err.Error(), first.Refresh) || !strings.Contains(err.Error(), "[secret]") {
				t.Errorf("the caller of the refresh got %v", err)
			}
		})
		<-began
		for n := range r.node {
			wg.Go(func() {
				if x, err := r.node[n].Use(t.Context(), "acme", hash, r.refresh); err != nil || x.Version != 2 {
					t.Errorf("node %d got version %d, %v", n, x.Version, err)
				}
			})
		}
		close(end)
		wg.Wait()
		r.asked(t, 1+1)
		if _, err := r.node[0].Use(t.Context(), "acme", "other", func(context.Context, channels.Token) (channels.Token, error) {
			return channels.Token{}, nil
		}); err == nil {
			t.Error("no token is no error")
		}
	})
}

const leaseOf = "channel/token/acme/" + hash

func TestADeadRefresherIsFollowedWhenItsLeaseEnds(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.use(0)
		r.add(56 * time.Minute)
		r.node[1].Patient(30 * time.Second)
		const left = 300 * time.Millisecond
		died := time.Now()
		// It renews no more: its row is as it left it.
		r.exec("UPDATE leases SET holder = 'dead', epoch = epoch + 1, expires_at = "+r.store[0].At(left)+" WHERE name = $1", leaseOf)
		if x := r.use(1); x.Version != 2 {
			t.Errorf("version %d", x.Version)
		}
		if early := time.Since(died); early < left {
			t.Errorf("it was followed after %s", early)
		}
		r.asked(t, 2)
	})
}

// overtaken lets one node refresh while the other, whose lease is taken away, is between its lease and the provider.
func overtaken(r *rig, late func(old channels.Token) (channels.Token, error)) (slow, fast channels.Token, err error) {
	r.use(0)
	r.add(56 * time.Minute)
	r.node[1].Patient(30 * time.Second)
	began, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		slow, err = r.node[0].Use(r.t.Context(), "acme", hash, func(_ context.Context, old channels.Token) (channels.Token, error) {
			close(began)
			<-end
			return late(old)
		})
	})
	<-began
	r.exec("UPDATE leases SET holder = '', epoch = epoch + 1, expires_at = "+r.store[0].At(-time.Second)+" WHERE name = $1", leaseOf)
	fast = r.use(1)
	close(end)
	wg.Wait()
	return slow, fast, err
}

func TestALateRefresherTakesWhatOvertookIt(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		slow, fast, err := overtaken(r, r.answer) // with a refresh token that is used up
		if err != nil || slow != fast || r.reused != 1 {
			t.Errorf("version %d instead of %d, %v", slow.Version, fast.Version, err)
		}
	})
}

func TestALateRefresherWritesOverNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		slow, fast, err := overtaken(r, func(channels.Token) (channels.Token, error) {
			return channels.Token{Value: "late", ExpiresAt: r.now().Add(time.Hour)}, nil
		})
		if err != nil || slow != fast || fast.Value != "value-2" {
			t.Errorf("version %d instead of %d, %v", slow.Version, fast.Version, err)
		}
		r.add(time.Minute)
		for n := range r.node {
			if x, err := r.node[n].Use(t.Context(), "acme", hash, r.untouched); err != nil || x != fast {
				t.Errorf("the row has version %d, %v", x.Version, err)
			}
		}
	})
}

func TestAnAnswerThatCannotBeSavedIsNotLost(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.use(0)
		r.add(56 * time.Minute)
		away := func(_ context.Context, old channels.Token) (channels.Token, error) {
			r.exec("ALTER TABLE provider_tokens RENAME TO away")
			return r.answer(old)
		}
		if _, err := r.node[0].Use(t.Context(), "acme", hash, away); err == nil || strings.Contains(err.Error(), "value-2") {
			t.Errorf("without a table: %v", err)
		}
		r.exec("ALTER TABLE away RENAME TO provider_tokens")
		x, err := r.node[0].Use(t.Context(), "acme", hash, r.untouched)
		if err != nil || x.Value != "value-2" {
			t.Errorf("afterwards version %d, %v", x.Version, err)
		}
		if y := r.use(1); y != x {
			t.Errorf("the other node has version %d", y.Version)
		}
		r.asked(t, 2)
		// This time it comes back between two attempts.
		tries := 0
		r.trace(func(query string) {
			if strings.HasPrefix(query, "UPDATE") && strings.Contains(query, "provider_tokens") {
				if tries++; tries == 3 {
					r.exec("ALTER TABLE away RENAME TO provider_tokens")
				}
			}
		})
		if x, err = r.node[0].Renew(t.Context(), "acme", hash, x, away); err != nil || x.Version != 3 || tries < 3 {
			t.Errorf("version %d after %d tries, %v", x.Version, tries, err)
		}
		r.trace(func(string) {})
		if y, err := r.node[1].Renew(t.Context(), "acme", hash, channels.Token{Value: "value-2", Version: 2}, r.untouched); err != nil || y != x {
			t.Errorf("the other node has version %d, %v", y.Version, err)
		}
	})
}

func TestAValidTokenOutlivesTheDatabase(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		first := r.use(0)
		r.exec("ALTER TABLE provider_tokens RENAME TO away")
		r.add(time.Minute)
		if x, err := r.node[0].Use(t.Context(), "acme", hash, r.untouched); err != nil || x != first {
			t.Errorf("version %d, %v", x.Version, err)
		}
		if _, err := r.node[0].Renew(t.Context(), "acme", hash, first, r.untouched); err == nil {
			t.Error("the refused one was given again")
		}
	})
}

// A database that was set back has an old refresh token; what is known of the newer one must not be lost with it.
func TestARowThatWasSetBackIsNotBelieved(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		first := r.use(0)
		second, err := r.node[0].Renew(t.Context(), "acme", hash, first, r.refresh)
		if err != nil {
			t.Fatal(err)
		}
		r.exec("DELETE FROM provider_tokens")
		third, err := r.node[0].Renew(t.Context(), "acme", hash, second, r.refresh)
		if err != nil || third.Version != 3 || r.reused != 0 {
			t.Errorf("version %d, %v", third.Version, err)
		}
		if x := r.use(1); x != third {
			t.Errorf("the other node has version %d", x.Version)
		}
	})
}

func TestATokenIsSealedInItsPlace(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		x := r.use(0)
		var sealed []byte
		if err := r.store[0].DB.QueryRowContext(t.Context(), "SELECT sealed FROM provider_tokens").Scan(&sealed); err != nil {
			t.Fatal(err)
		}
		if len(sealed) == 0 || bytes.Contains(sealed, []byte(x.Value)) || bytes.Contains(sealed, []byte(x.Refresh)) {
			t.Error("the row holds the token as it is")
		}
		r.exec("UPDATE provider_tokens SET credential = 'other'")
		if _, err := r.node[1].Use(t.Context(), "acme", "other", r.untouched); err == nil {
			t.Error("a row of another credential opens")
		}
		r.exec("UPDATE provider_tokens SET credential = $1, version = 9", hash)
		if _, err := r.node[1].Use(t.Context(), "acme", hash, r.untouched); err == nil {
			t.Error("a row opens under another version")
		}
		for _, name := range []string{"", "a\x00b", "\xff", strings.Repeat("a", 201)} {
			if _, err := r.node[0].Use(t.Context(), name, hash, r.untouched); err == nil {
				t.Errorf("a provider is named %q", name)
			}
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.node[0].Shrink(2)
		r.set(func() { r.forgets = true })
		for _, credential := range []string{"a", "b", "a", "c", "d", "a"} {
			if _, err := r.node[0].Use(t.Context(), "acme", credential, r.refresh); err != nil {
				t.Fatal(err)
			}
		}
		if n, turns := r.node[0].InMemory(); n != 2 || turns != 0 {
			t.Errorf("%d tokens, %d turns", n, turns)
		}
		r.asked(t, 4) // forgotten is not lost
		ctx, count := store.Count(t.Context())
		if _, err := r.node[0].Use(ctx, "acme", "d", r.untouched); err != nil || count.N() != 0 {
			t.Errorf("the last used was forgotten: %v, %v", count.Statements(), err)
		}
	})
}
