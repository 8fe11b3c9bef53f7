// Package desktest builds a small world around a real desk for tests: a workspace with its admin, agents by role,
// channels of the real kinds, a clock that a test moves, jobs that run when they are asked to. It is imported by tests
// alone; the kinds of channels are registered by the test that wants them.
package desktest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"tributary/channels"
	"tributary/desk"
	"tributary/ent"
	"tributary/ent/agentstatus"
	"tributary/ent/role"
	"tributary/internal/auth"
	"tributary/internal/blob"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/limit"
	"tributary/internal/relay"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/tokens"
	"tributary/internal/viewer"
)

// PublicURL is where the world says that it is reached.
const PublicURL = "https://desk.example"

const offerLease = "router"

// Clock is the real time, moved on by a test.
type Clock struct{ ahead atomic.Int64 }

// Now is the time of this world.
func (c *Clock) Now() time.Time { return time.Now().UTC().Add(time.Duration(c.ahead.Load())) }

// Add moves the world's time on.
func (c *Clock) Add(d time.Duration) { c.ahead.Add(int64(d)) }

// After sends at once what the real clock sends later: nothing here waits for it.
func (c *Clock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// World is a desk with one workspace.
type World struct {
	T     testing.TB
	Store *store.Store
	Desk  *desk.Desk
	Clock *Clock
	ID    gid.ID          // the workspace
	Sys   context.Context // the process inside the workspace
	Admin *Agent
	Queue gid.ID // the default queue
	Roles map[string]gid.ID

	serial *atomic.Int64
	base   context.Context
}

// Each runs f with a fresh world on both dialects.
func Each(t *testing.T, f func(t *testing.T, w *World)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, s *store.Store) { f(t, New(t, s)) })
}

// New makes a world on a migrated store.
func New(t testing.TB, s *store.Store) *World {
	t.Helper()
	w := &World{T: t, Store: s, Clock: &Clock{}, serial: &atomic.Int64{}, base: t.Context()}
	files, err := blob.OpenFolder(t.TempDir())
	w.ok(err)
	box := crypt.Current()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w.Desk = desk.New(desk.Config{
		Store: s, Events: relay.NewLog(s), Blob: files, Links: blob.NewSigner(box.Key("links"), w.Clock.Now),
		Tokens: auth.NewSigner(box.Key("tokens"), w.Clock.Now), Limiter: limit.NewMemory(w.Clock.Now, 10_000),
		Host: channels.Host{
			Tokens: tokens.New(s, tokens.Config{Node: "test", Now: w.Clock.Now, Log: log}), Lock: tokens.NewLock(s, "test"),
			Blob: blob.OfChannels{Store: files}, Clock: w.Clock, Dial: openDialer{},
		},
		Epoch: Epoch, Switchboard: &Board{},
		Log: log, Node: Node, PublicURL: PublicURL, Now: w.Clock.Now, OfferLease: offerLease, LoginsPerFiveMinutes: 1000, StartsPerMinute: 1_000_000, MessagesPerMinute: 1_000_000,
	})
	t.Cleanup(func() {
		if err := w.Desk.Close(); err != nil {
			t.Error(err)
		}
		if err := files.Close(); err != nil {
			t.Error(err)
		}
	})
	w.lead()
	w.settle()
	return w
}

// openDialer reaches the servers that tests start on this machine.
type openDialer struct{ net.Dialer }

// DialContext dials without a guard.
func (d openDialer) DialContext(ctx context.Context, _, network, addr string) (net.Conn, error) {
	return d.Dialer.DialContext(ctx, network, addr)
}

// lead writes the router's lease, so that decisions of epoch 1 are made true.
func (w *World) lead() {
	ctx := viewer.Global(w.base)
	if n, err := w.Store.Ent.Lease.Query().Count(ctx); err != nil || n > 0 {
		w.ok(err)
		return
	}
	w.ok(w.Store.Ent.Lease.Create().SetName(offerLease).SetHolder("test").SetEpoch(1).SetExpiresAt(time.Now().Add(time.Hour)).Exec(ctx))
}

// settle makes the workspace.
func (w *World) settle() {
	operator := viewer.With(w.base, &viewer.Viewer{Kind: viewer.KindSystem, Scopes: []viewer.Scope{viewer.SystemAdmin}})
	made, err := w.Desk.CreateWorkspace(operator, desk.WorkspaceInput{Name: "Test", AdminName: "Admin", AdminEmail: w.Mail("admin")}, nil)
	w.ok(err)
	w.ID, w.Sys, w.Roles = made.Workspace, viewer.System(w.base, made.Workspace), map[string]gid.ID{}
	roles, err := w.Store.Ent.Role.Query().All(w.Sys)
	w.ok(err)
	for _, r := range roles {
		w.Roles[r.Name] = r.ID
	}
	row, err := w.Store.Ent.Workspace.Get(w.Sys, w.ID)
	w.ok(err)
	w.Queue = *row.DefaultQueueID
	w.Admin = w.login(made.Admin)
}

// Another is one more workspace on the same desk.
func (w *World) Another() *World {
	n := &World{T: w.T, Store: w.Store, Desk: w.Desk, Clock: w.Clock, serial: w.serial, base: w.base}
	n.settle()
	return n
}

func (w *World) ok(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Unique makes a name that no other call makes.
func (w *World) Unique(name string) string { return fmt.Sprintf("%s-%d", name, w.serial.Add(1)) }

// Mail makes a mail address that no other call makes.
func (w *World) Mail(name string) string { return w.Unique(name) + "@example.com" }

// Agent is an agent with a session.
type Agent struct {
	context.Context
	ID      gid.ID
	Session gid.ID
	world   *World
}

// login gives an agent a session without the work of a password.
func (w *World) login(id gid.ID) *Agent {
	w.T.Helper()
	hash := []byte(w.Unique("no-refresh"))
	s, err := w.Store.Ent.Session.Create().SetAgentID(id).SetRefreshHash(hash).SetExpiresAt(time.Now().Add(365 * 24 * time.Hour)).Save(w.Sys)
	w.ok(err)
	a := &Agent{ID: id, Session: s.ID, world: w}
	return a.Again()
}

// Again is the agent proved anew: a changed role or team shows. The one before stays as he was.
func (a *Agent) Again() *Agent {
	a.world.T.Helper()
	v, err := a.world.Desk.StillStands(a.world.base, &viewer.Viewer{Token: a.Session})
	a.world.ok(err)
	again := *a
	again.Context = viewer.With(a.world.base, v)
	return &again
}

// Viewer is who the agent is.
func (a *Agent) Viewer() *viewer.Viewer { return viewer.From(a.Context) }

// Agent makes an agent of a role, AVAILABLE.
func (w *World) Agent(name, roleName string, teams ...gid.ID) *Agent {
	w.T.Helper()
	return w.AgentWith(desk.AgentCreateInput{DisplayName: name, RoleID: w.Roles[roleName], TeamIds: teams})
}

// AgentWith makes an agent, AVAILABLE.
func (w *World) AgentWith(in desk.AgentCreateInput) *Agent {
	w.T.Helper()
	in.Email = w.Mail(in.DisplayName)
	id, err := w.Desk.CreateAgent(w.Admin, in, nil)
	w.ok(err)
	a := w.login(id)
	_, err = w.Desk.SetStatus(a, nil, desk.AgentStatusInput{State: agentstatus.StateAVAILABLE}, nil)
	w.ok(err)
	return a
}

// Role makes a role of a reach and scopes.
func (w *World) Role(name string, reach role.Reach, scopes ...viewer.Scope) string {
	w.T.Helper()
	r, err := w.Store.Ent.Role.Create().SetName(name).SetReach(reach).SetScopes(append([]viewer.Scope{viewer.Self}, scopes...)).Save(w.Sys)
	w.ok(err)
	w.Roles[name] = r.ID
	return name
}

// Serving are the scopes of somebody who serves.
var Serving = []viewer.Scope{viewer.CustomerRead, viewer.CustomerWrite, viewer.ConversationRead, viewer.ConversationWrite, viewer.CallControl}

// Team makes a team.
func (w *World) Team(name string, parent ...gid.ID) gid.ID {
	w.T.Helper()
	in := desk.TeamCreateInput{Name: name}
	if len(parent) > 0 {
		in.ParentID = &parent[0]
	}
	id, err := w.Desk.CreateTeam(w.Admin, in, nil)
	w.ok(err)
	return id
}

// QueueOf makes a queue.
func (w *World) QueueOf(in desk.QueueCreateInput) gid.ID {
	w.T.Helper()
	if in.Name == "" {
		in.Name = w.Unique("queue")
	}
	id, err := w.Desk.CreateQueue(w.Admin, in, nil)
	w.ok(err)
	return id
}

// Channel makes a channel.
func (w *World) Channel(in desk.ChannelCreateInput) *ent.Channel {
	w.T.Helper()
	if in.Name == "" {
		in.Name = w.Unique(in.Kind)
	}
	if in.Config == nil {
		in.Config = json.RawMessage(`{}`)
	}
	id, err := w.Desk.CreateChannel(w.Admin, in, nil)
	w.ok(err)
	c, err := w.Store.Ent.Channel.Get(w.Sys, id)
	w.ok(err)
	return c
}
