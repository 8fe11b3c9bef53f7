// Package nodes_test plays the bad days of an installation of two nodes over one PostgreSQL and one Redis: either node
// is killed or restarted under traffic, Redis and PostgreSQL go away and come back, the mail server does, and the other
// node goes on. What is promised for one node holds here, too (the checker is that of test/kill), and no interaction ever
// has two offers or two servers at a time. Everything goes by GraphQL and web hooks; only a control touches the database.
//
// KILL_SEED repeats a run's choices (not its timing); TEST_LONG=1 is the long form.
package nodes_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tributary/internal/testdb"
	"tributary/test/rig"
)

// pair are two nodes of one installation.
type pair struct {
	t     testing.TB
	nodes [2]*rig.Node
	names [2]string // as the installation calls them
}

// site says on what an installation stands.
type site struct {
	database, redis string // empty: of the shared servers
	binary          string // empty: the program as it is
	args, env       []string
	calm            int // how many times the usual everybody rests; 0: once
}

// build starts both nodes.
func build(t testing.TB, s site) *pair {
	t.Helper()
	if s.database == "" {
		s.database = testdb.PostgresURL(t)
	}
	if s.redis == "" {
		s.redis = testdb.Redis(t)
	}
	p := &pair{t: t}
	env := append([]string{"TRIBUTARY_KEY_FILE=" + filepath.Join(t.TempDir(), "keys.json")}, s.env...)
	secret := rig.Unique("a secret of both nodes")
	for n := range p.nodes {
		p.nodes[n] = rig.Start(t, rig.Options{
			DatabaseURL: s.database, Env: env, Binary: s.binary,
			Args: append([]string{"--log-level", "warn", "--redis-url", s.redis, "--peer", rig.FreeAddr(t), "--peer-secret", secret}, s.args...),
		})
	}
	return p
}

// learn asks the nodes for their names.
func (p *pair) learn(l *rig.Login) {
	p.t.Helper()
	for n, node := range p.nodes {
		v, err := rig.Whole(must(p.t)(l.At(node.URL).Do(context.Background(), `{health{node}}`, nil)))
		if err != nil {
			p.t.Fatal(err)
		}
		p.names[n] = v.At("health", "node").String()
	}
	if p.names[0] == p.names[1] || p.names[0] == "" || p.names[1] == "" {
		p.t.Fatalf("the nodes call themselves %q", p.names)
	}
}

// leaders are the holders of the leaderships, by name of the work.
func (p *pair) leaders(ctx context.Context, l *rig.Login, n int) (map[string]string, error) {
	v, err := l.At(p.nodes[n].URL).Do(ctx, `{health{leaders{name node}}}`, nil)
	if err == nil {
		v, err = rig.Whole(v)
	}
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, x := range v.At("health", "leaders").List() {
		out[x.At("name").String()] = x.At("node").String()
	}
	return out, nil
}

// ready waits until both take part.
func (p *pair) ready() {
	p.t.Helper()
	for _, n := range p.nodes {
		n.Ready(time.Minute)
	}
}

// alive fails if a node has ended by itself.
func (p *pair) alive() {
	p.t.Helper()
	for _, n := range p.nodes {
		select {
		case <-n.Ended():
			p.t.Fatalf("%s ended by itself:\n%s", n.URL, n.Log)
		default:
		}
	}
}

func long() bool { return os.Getenv("TEST_LONG") == "1" }

func must(t testing.TB) func(rig.Value, error) rig.Value {
	return func(v rig.Value, err error) rig.Value {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestMain removes what outlives single tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if unsafeProgram.binary != "" {
		_ = os.RemoveAll(filepath.Dir(unsafeProgram.binary))
	}
	os.Exit(code)
}
