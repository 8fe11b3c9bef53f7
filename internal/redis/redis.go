// Package redis opens clients of the Redis that the nodes of one installation share. Redis holds nothing that cannot be
// rebuilt: it carries wake-ups and counts limits, so every user of it goes on without it.
//
// Neighbours: bus and limit use the client that Open gives; main hands them the address. Tests bring their own servers.
//
// Invariants: no command waits longer than its context or, without a deadline, than patience; nothing is tried again
// behind a caller's back, because the callers know what may be repeated and when; the library writes no log, because
// the callers say once that Redis is away.
package redis

import (
	"context"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// patience bounds dialling and each answer where neither the address nor the caller's context says otherwise.
const patience = time.Second

// quiet drops the library's own log: during an outage it writes a line for each attempt.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// The logger is global in the library; set here, it is in place before the first client.
func init() { goredis.SetLogger(quiet{}) }

// errAddress says nothing of the address: a password with a slash in it is read as port or number, and the library's
// errors repeat those.
var errAddress = errors.New("read the address of Redis: it must have the form redis://[[USER]:PASSWORD@]HOST[:PORT][/NUMBER][?OPTIONS], " +
	"with signs like / and @ of the password written as %2F and %40")

// Open makes a client for redis://, or rediss:// over TLS. It does not connect: the first command does. Close it when
// done.
func Open(address string) (*goredis.Client, error) {
	o, err := goredis.ParseURL(address)
	if err != nil {
		return nil, errAddress
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = patience
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = patience
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = patience
	}
	o.MaxRetries, o.DialerRetries = -1, 1
	o.ContextTimeoutEnabled = true
	// The older protocol asks nothing of the server but the commands that we use, and one pool is enough.
	o.Protocol, o.DisableIdentity, o.PipelinePoolSize = 2, true, -1
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return goredis.NewClient(o), nil
}
