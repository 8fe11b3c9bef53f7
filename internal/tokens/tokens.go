// Package tokens serves two ports of channel kinds over the database: access tokens of providers that all nodes share
// (Tokens), and named leases over all nodes (Lock).
//
// A token is one sealed row for each provider and credential. Who finds it too old, or refused, takes the credential's
// lease, reads again, asks the provider, and writes where the row is still the one it read. A valid token costs no
// statement: it lies in the memory of the node, and its row is looked at again after half a minute.
//
// Neighbours: internal/store has leases and rows, internal/crypt seals. main.go puts both ports into channels.Host; this
// is the one internal room that knows the contract of channels, because its types are the port's.
//
// Invariants: at most one refresh of a credential runs at a time over all nodes, unless a node stands still for longer
// than its lease; then versions decide, and a newer row is never written over by an older token. A refresh token that
// may be used once is saved before the token beside it is used; once a provider has been asked, the end of the caller's
// context changes nothing. No error and no line of the log holds a token.
//
// Goroutines: that of a held lease, ended by Release. A refresh runs in its caller's.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"tributary/channels"
	"tributary/internal/store"
)

const (
	minLife   = 5 * time.Minute  // what a token that is handed out lives for at least
	lookAgain = 30 * time.Second // how long a row that was seen is believed
	patience  = 3 * time.Second  // how long one waits for the refresh of another
	askFor    = 10 * time.Second // how long a provider may take
	saveFor   = 10 * time.Second // how long all attempts to save may take
	saveTries = 5
	savePause = 100 * time.Millisecond // before the second attempt; doubled for each one more
	inMemory  = 4096                   // tokens
)

// errBusy is a refresh elsewhere that took longer than one waits: temporary.
var errBusy = errors.New("its refresh by another is under way")

// Config is what Tokens stands on. All members are needed.
type Config struct {
	Node string // whose leases they are, for people who look
	Now  func() time.Time
	Log  *slog.Logger
}

// Tokens shares provider tokens over nodes. It implements channels.Tokens. Make one per process.
type Tokens struct {
	Config
	store *store.Store
	locks *Lock
	cache *cache
	turns turns

	patience, savePause time.Duration

	mu sync.Mutex
	// unsaved are tokens that a provider gave and the database did not take: what replaced a refresh token that may be used
	// once is known nowhere else. They are saved before the provider is asked again.
	unsaved map[key]channels.Token
}

// New makes the tokens of a node.
func New(s *store.Store, c Config) *Tokens {
	return &Tokens{
		Config: c, store: s, locks: NewLock(s, c.Node), cache: newCache(inMemory), patience: patience, savePause: savePause,
		unsaved: map[key]channels.Token{},
	}
}

// Use returns a token with at least 5 minutes of life, refreshing it where it has less.
func (t *Tokens) Use(ctx context.Context, provider, credential string, refresh channels.Refresh) (channels.Token, error) {
	k, err := keyOf(provider, credential)
	if err != nil {
		return channels.Token{}, err
	}
	if e := t.cache.get(k); t.recent(e) && t.lives(e.token) {
		return e.token, nil
	}
	return t.get(ctx, k, nil, refresh)
}

// Renew is Use after the provider refused failed: one that has replaced it comes back without a refresh.
func (t *Tokens) Renew(ctx context.Context, provider, credential string, failed channels.Token, refresh channels.Refresh) (channels.Token, error) {
	k, err := keyOf(provider, credential)
	if err != nil {
		return channels.Token{}, err
	}
	if e := t.cache.get(k); t.usable(e.token, &failed) {
		return e.token, nil
	}
	t.cache.drop(k, failed)
	return t.get(ctx, k, &failed, refresh)
}

func keyOf(provider, credential string) (key, error) {
	return key{provider, credential}, errors.Join(plain("provider", provider), plain("credential's hash", credential))
}

// recent reports whether a row was seen so lately that it need not be read.
func (t *Tokens) recent(e entry) bool { return t.Now().Sub(e.seen) < lookAgain }

// lives reports whether a token has enough of its life before it.
func (t *Tokens) lives(x channels.Token) bool {
	return x.Value != "" && (x.ExpiresAt.IsZero() || !x.ExpiresAt.Before(t.Now().Add(minLife)))
}

// usable reports whether a token lives and is not the one that failed, if one did, nor older.
func (t *Tokens) usable(x channels.Token, failed *channels.Token) bool {
	return t.lives(x) && (failed == nil || replaces(x, *failed))
}

// replaces reports whether a token came after one that failed. Rows of a database that was set back may have its version
// and another value.
func replaces(x, failed channels.Token) bool {
	return x.Version > failed.Version || (x.Version == failed.Version && x.Value != failed.Value)
}

// get reads the row and replaces its token where it must be.
func (t *Tokens) get(ctx context.Context, k key, failed *channels.Token, refresh channels.Refresh) (channels.Token, error) {
	wait, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	x := t.turns.enter(k)
	defer t.turns.leave(k, x)
	select {
	case <-x.free:
		defer func() { x.free <- struct{}{} }()
	case <-wait.Done():
		return t.again(ctx, k, failed)
	}
	// Who had the turn before may have brought it.
	known := t.cache.get(k)
	if t.recent(known) && t.usable(known.token, failed) {
		return known.token, nil
	}
	row, err := t.look(ctx, k)
	switch {
	case err != nil && t.usable(known.token, failed): // the database is away, and its last word is still good
		return known.token, nil
	case err != nil:
		return channels.Token{}, err
	case t.usable(row, failed):
		return row, nil
	}
	lease, err := t.locks.acquire(wait, ofTokens+k.provider+"/"+k.credential)
	if err != nil {
		return t.again(ctx, k, failed)
	}
	defer func() { _ = lease.Release(context.WithoutCancel(ctx)) }() // nothing but the end of its context is an error
	return t.replace(ctx, k, lease, newer(failed, known.token), failed, refresh)
}

// newer is the one of two tokens with the higher version.
func newer(a *channels.Token, b channels.Token) channels.Token {
	if a != nil && a.Version >= b.Version {
		return *a
	}
	return b
}

// again is the last look of one who waited in vain.
func (t *Tokens) again(ctx context.Context, k key, failed *channels.Token) (channels.Token, error) {
	if ctx.Err() != nil {
		return channels.Token{}, fmt.Errorf("wait for the token of %s: %w", k.provider, context.Cause(ctx))
	}
	row, err := t.look(ctx, k)
	if err == nil && !t.usable(row, failed) {
		err = fmt.Errorf("wait for the token of %s: %w", k.provider, errBusy)
	}
	if err != nil {
		return channels.Token{}, err
	}
	return row, nil
}

// look reads the row and remembers it.
func (t *Tokens) look(ctx context.Context, k key) (channels.Token, error) {
	seen := t.Now()
	row, err := t.read(ctx, k)
	if err == nil && row.Version > 0 {
		t.cache.put(k, row, seen)
	}
	return row, err
}

// replace asks the provider and saves what it gives. The caller holds the lease.
func (t *Tokens) replace(ctx context.Context, k key, lease *Lease, known channels.Token, failed *channels.Token, refresh channels.Refresh) (channels.Token, error) {
	row, err := t.look(ctx, k)
	if err == nil {
		row, err = t.rescue(ctx, k, row)
	}
	if err != nil || t.usable(row, failed) {
		return row, err
	}
	// A database that was set back knows less than we do.
	old := newer(&row, known)
	select {
	case <-lease.Lost(): // before the provider knows of us
		return channels.Token{}, fmt.Errorf("refresh the token of %s: %w", k.provider, errBusy)
	default:
	}
	if ctx.Err() != nil {
		return channels.Token{}, fmt.Errorf("refresh the token of %s: %w", k.provider, context.Cause(ctx))
	}
	fresh, err := t.ask(ctx, old, refresh)
	if err != nil {
		// While the lease was lost another may have used our refresh token up, and has what we wanted.
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveFor)
		defer cancel()
		if row, rerr := t.look(after, k); rerr == nil && row.Version > old.Version && t.usable(row, failed) {
			return row, nil
		}
		return channels.Token{}, fmt.Errorf("refresh the token of %s: %w", k.provider, err)
	}
	fresh.Version, fresh.ExpiresAt = old.Version+1, fresh.ExpiresAt.UTC().Truncate(time.Microsecond)
	if fresh, err = t.save(ctx, k, row.Version, fresh); err != nil {
		return channels.Token{}, err
	}
	if !t.lives(fresh) {
		return channels.Token{}, fmt.Errorf("refresh the token of %s: what it gave ends in less than %s", k.provider, minLife)
	}
	return fresh, nil
}

// ask runs the refresh to its end, whatever becomes of the caller: a provider that has been asked may have ended the old
// refresh token.
func (t *Tokens) ask(ctx context.Context, old channels.Token, refresh channels.Refresh) (channels.Token, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askFor)
	defer cancel()
	fresh, err := refresh(ctx, old)
	if err == nil && fresh.Value == "" {
		err = errors.New("it gave no token")
	}
	return fresh, hide(err, old)
}

// hidden is an error without the secrets that its text had.
type hidden struct {
	error
	text string
}

func (h hidden) Error() string { return h.text }
func (h hidden) Unwrap() error { return h.error }

// hide takes the old token out of an error's text: addresses with a token in them get into errors easily.
func hide(err error, old channels.Token) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range []string{old.Value, old.Refresh} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	if text == err.Error() {
		return err
	}
	return hidden{err, text}
}
