package gate

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tributary/channels/voice"
)

// table is who may come in at the door of trunks; it is replaced as a whole.
type table struct {
	exact    map[netip.Addr][]voice.ID
	prefixes []prefixOf
	trunks   map[voice.ID]voice.Trunk
}

type prefixOf struct {
	prefix netip.Prefix
	trunk  voice.ID
}

// newTable reads the addresses of trunks; what is none is left out.
func newTable(list []voice.Trunk) *table {
	t := &table{exact: map[netip.Addr][]voice.ID{}, trunks: map[voice.ID]voice.Trunk{}}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b voice.Trunk) int { return cmp.Compare(a.ID, b.ID) })
	for _, trunk := range list {
		t.trunks[trunk.ID] = trunk
		for _, a := range trunk.Addresses {
			if ip, err := netip.ParseAddr(a); err == nil {
				ip = ip.Unmap()
				t.exact[ip] = append(t.exact[ip], trunk.ID)
			} else if p, err := netip.ParsePrefix(a); err == nil {
				t.prefixes = append(t.prefixes, prefixOf{p.Masked(), trunk.ID})
			}
		}
	}
	return t
}

// knows reports whether some trunk has that address.
func (t *table) knows(ip netip.Addr) bool {
	if _, ok := t.exact[ip]; ok {
		return true
	}
	return slices.ContainsFunc(t.prefixes, func(p prefixOf) bool { return p.prefix.Contains(ip) })
}

// at are the trunks that have that address.
func (t *table) at(ip netip.Addr) (out []voice.Trunk) {
	for _, id := range t.exact[ip] {
		out = append(out, t.trunks[id])
	}
	for _, p := range t.prefixes {
		if p.prefix.Contains(ip) && !slices.ContainsFunc(out, func(x voice.Trunk) bool { return x.ID == p.trunk }) {
			out = append(out, t.trunks[p.trunk])
		}
	}
	return out
}

// met are addresses that we sent requests to: their answers and requests within dialogs may come in for an hour.
type met struct {
	mu sync.RWMutex
	at map[netip.Addr]time.Time
}

// metMax bounds them; trunks' servers are few.
const metMax = 4096

func (m *met) add(ip netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil {
		m.at = map[netip.Addr]time.Time{}
	}
	for k, t := range m.at {
		if len(m.at) < metMax {
			break
		}
		if time.Since(t) > time.Hour || len(m.at) >= metMax {
			delete(m.at, k)
		}
	}
	m.at[ip] = time.Now()
}

func (m *met) knows(ip netip.Addr) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t, ok := m.at[ip]
	return ok && time.Since(t) < time.Hour
}

// account is what a trunk uses now; it outlives a change of the trunk's row.
type account struct {
	mu     sync.Mutex
	calls  int
	second time.Time
	begun  int
}

func (g *Gate) account(trunk voice.ID) *account {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.accounts[trunk]
	if a == nil {
		a = &account{}
		g.accounts[trunk] = a
	}
	return a
}

// take counts a call in, or says why it may not be: RFC 3261 section 21.5.4.
func (a *account) take(t voice.Trunk, now time.Time) *fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.MaxCalls > 0 && a.calls >= t.MaxCalls {
		return busy("Too many calls", "5")
	}
	if now.Sub(a.second) >= time.Second || now.Before(a.second) {
		a.second, a.begun = now, 0
	}
	if t.MaxPerSecond > 0 && a.begun >= t.MaxPerSecond {
		return busy("Too many calls a second", "1")
	}
	a.begun++
	a.calls++
	return nil
}

func (a *account) give() {
	a.mu.Lock()
	a.calls--
	a.mu.Unlock()
}

func busy(reason, after string) *fault {
	return &fault{code: 503, reason: reason, fields: []field{{"Retry-After", after}}}
}

// refresh reads the trunks.
func (g *Gate) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list, err := g.cfg.Desk.Trunks(ctx)
	if err != nil {
		return err
	}
	g.table.Store(newTable(list))
	return nil
}

// follow keeps the table as the desk has it, at most a second behind; while the desk cannot be asked the last one holds.
func (g *Gate) follow(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := g.refresh(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			g.log.Warn("the trunks could not be read", "error", err)
		}
		failing = err != nil
	}
}
