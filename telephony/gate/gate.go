package gate

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"tributary/channels/voice"
	"tributary/internal/dial"
)

// Desk is what the gate asks of the desk; voice.Desk has it.
type Desk interface {
	Trunks(ctx context.Context) ([]voice.Trunk, error)
	TrunkHealth(ctx context.Context, trunk voice.ID, err error) error
	Phone(ctx context.Context, username string) (voice.Phone, error)
	Register(ctx context.Context, r voice.Registration) error
}

// Config is what a gate needs. Desk, Secret and Incoming are required.
type Config struct {
	// Trunk and Phone are "host:port", UDP and TCP on both; "": that door stays closed. Port 0 picks one.
	Trunk, Phone string
	// TrunkTLS is a third listener of trunks, with Certificate and Key (PEM files); "": none.
	TrunkTLS, Certificate, Key string
	// Roots verify the certificates of trunks that are called by TLS; nil: those of the system.
	Roots *x509.CertPool
	// Dial connects to trunks by TCP and TLS: a guarded dialer of internal/dial with the operator's rules. nil: one without
	// rules, which reaches the ports 5060 and 5061 of public addresses.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Resolver finds the servers of trunks; nil: the system's.
	Resolver *net.Resolver
	// PublicIP stands in Contact and Via; zero: the listener's own address.
	PublicIP netip.Addr
	// Node and Epoch make an Incoming's key unique.
	Node  string
	Epoch int64
	Desk  Desk
	// Secret of 32 bytes keys nonces, tags and branches.
	Secret []byte
	// Incoming takes an INVITE of a known trunk, in a goroutine of its own.
	Incoming func(*Incoming)
	Limits   Limits
	Log      *slog.Logger
	Now      func() time.Time
}

// Limits bound what strangers and friends can make the gate hold. A zero is the default.
type Limits struct {
	// Dialogs at once; 5,000.
	Dialogs int
	// Pending are INVITEs of which a repetition may still come, 32 s after their end; 20,000.
	Pending int
	// Connections over TCP and TLS at one door; 4,096. PerSource from one address; 256.
	Connections, PerSource int
	// Rate of messages from one address at the door of phones, a second, and Burst at once; 50 and 200.
	Rate, Burst int
	// NoAck is how long a 200 waits for its ACK, and a reliable 180 for its PRACK: 64*T1, 32 s.
	NoAck time.Duration
	// MinSession is the shortest session interval that we accept (RFC 4028 section 4), 90 s.
	MinSession time.Duration
	// Ping is how often a trunk's server is asked whether it lives, 30 s.
	Ping time.Duration
}

func (l *Limits) fill() {
	for p, v := range map[*int]int{&l.Dialogs: 5000, &l.Pending: 20000, &l.Connections: 4096, &l.PerSource: 256, &l.Rate: 50, &l.Burst: 200} {
		if *p == 0 {
			*p = v
		}
	}
	for p, v := range map[*time.Duration]time.Duration{&l.NoAck: 64 * t1, &l.MinSession: 90 * time.Second, &l.Ping: 30 * time.Second} {
		if *p == 0 {
			*p = v
		}
	}
}

// Timers of RFC 3261 section 17.1.1.1.
const (
	t1 = 500 * time.Millisecond
	t2 = 4 * time.Second
	// linger is how long a repetition may come: 64*T1.
	linger = 64 * t1
)

// Gate is the SIP side of a node.
type Gate struct {
	cfg Config
	log *slog.Logger

	trunks, phones *door // nil: closed
	table          atomic.Pointer[table]
	auth           *auth
	bindings       bindings
	lookups        chan struct{} // who holds a place asks the desk for an account
	draining       atomic.Bool

	// ctx ends when the gate closes; life counts the goroutines that must end before Close returns.
	ctx  context.Context
	stop context.CancelFunc
	life sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	dialogs  map[string]*dialog
	pending  map[string]*pending
	gone     map[string]time.Time // dialogs that ended, until when a repetition may come
	flying   int                  // requests of ours that wait for their answer
	accounts map[voice.ID]*account
}

// lookupsMax bounds how many phones are looked up at once: further ones get 503 and come again.
const lookupsMax = 64

// tame sets what the SIP library keeps for the whole process. It raises the bound of datagrams: the default refuses a 200
// with a few Record-Routes; what must not be fragmented is sent over TCP (RFC 3261 section 18.1.1). And it silences the
// library's own log, which would hold what strangers send.
var tame = sync.OnceFunc(func() {
	sip.UDPMTUSize = 65_535 + 200
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
})

// Open binds the listeners and reads the trunks; from then on requests can be sent and are answered. Close or the end of
// Run gives everything back.
func Open(ctx context.Context, cfg Config) (*Gate, error) {
	if cfg.Desk == nil || cfg.Incoming == nil || len(cfg.Secret) < 32 {
		return nil, errors.New("a gate needs a desk, somebody who takes calls, and a secret of 32 bytes")
	}
	tame()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = dial.New(nil).Dialer(dial.SIP)
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	cfg.Limits.fill()
	g := &Gate{
		cfg: cfg, log: cfg.Log, auth: newAuth(cfg.Secret, cfg.Now),
		lookups: make(chan struct{}, lookupsMax), dialogs: map[string]*dialog{}, pending: map[string]*pending{}, gone: map[string]time.Time{}, accounts: map[voice.ID]*account{},
	}
	g.ctx, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := g.open(ctx); err != nil {
		g.Close()
		return nil, err
	}
	g.life.Go(g.sweep)
	return g, nil
}

func (g *Gate) open(ctx context.Context) error {
	g.table.Store(newTable(nil))
	if err := g.refresh(ctx); err != nil {
		return fmt.Errorf("read the trunks: %w", err)
	}
	var err error
	if g.cfg.Trunk != "" {
		if g.trunks, err = g.openTrunks(ctx); err != nil {
			return fmt.Errorf("open the door of trunks: %w", err)
		}
	}
	if g.cfg.Phone != "" {
		if g.phones, err = g.openPhones(ctx); err != nil {
			return fmt.Errorf("open the door of phones: %w", err)
		}
	}
	for _, d := range g.doors() {
		for _, l := range d.listeners {
			l.serve()
		}
	}
	return nil
}

// Run keeps the gate going until ctx ends: listeners that end are opened again, the trunks are read every second and asked
// whether they live. At its end every dialog is hung up and everything is closed.
func (g *Gate) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, d := range g.doors() {
		for _, l := range d.listeners {
			all.Go(func() { l.supervise(ctx) })
		}
	}
	all.Go(func() { g.follow(ctx) })
	all.Go(func() { g.ping(ctx) })
	<-ctx.Done()
	g.hangUpAll("the node ends")
	g.Close()
	all.Wait()
	return nil
}

// hangUpAll ends every dialog and waits a moment until the far ends know.
func (g *Gate) hangUpAll(cause string) {
	g.mu.Lock()
	list := make([]*dialog, 0, len(g.dialogs))
	for _, d := range g.dialogs {
		list = append(list, d)
	}
	g.mu.Unlock()
	for _, d := range list {
		d.HangUp(cause)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		g.mu.Lock()
		left := len(g.dialogs) + g.flying
		g.mu.Unlock()
		if left == 0 {
			return
		}
		<-tick.C
	}
}

// fly is begin for a request that hangUpAll waits for.
func (g *Gate) fly(f func()) bool {
	g.mu.Lock()
	g.flying++
	g.mu.Unlock()
	land := func() {
		g.mu.Lock()
		g.flying--
		g.mu.Unlock()
	}
	if g.begin(func() { defer land(); f() }) {
		return true
	}
	land()
	return false
}

// Close ends the gate at once and waits for its goroutines. Dialogs end with EventEnded.
func (g *Gate) Close() {
	g.mu.Lock()
	again := g.closed
	g.closed = true
	g.mu.Unlock()
	if !again {
		g.stop()
		for _, d := range g.doors() {
			d.close()
		}
	}
	g.life.Wait()
	for _, d := range g.doors() { // what was being sent while the sockets closed may have made the library open one more
		_ = d.tp.Close()
	}
}

// Addr is where a door listens, by door ("trunk", "phone") and network ("udp", "tcp", "tls"); invalid where it does not.
func (g *Gate) Addr(door, network string) netip.AddrPort {
	d := g.trunks
	if door == "phone" {
		d = g.phones
	}
	if d == nil {
		return netip.AddrPort{}
	}
	return d.addr(network)
}

// Drain lets the dialogs go on and takes no new ones: OPTIONS and INVITE get 503 with Retry-After.
func (g *Gate) Drain() { g.draining.Store(true) }

// Count is how many dialogs live.
func (g *Gate) Count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.dialogs)
}

func (g *Gate) doors() (out []*door) {
	for _, d := range []*door{g.trunks, g.phones} {
		if d != nil {
			out = append(out, d)
		}
	}
	return out
}

// begin starts a goroutine that Close waits for; false: the gate is closed.
func (g *Gate) begin(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.life.Go(f)
	return true
}

// sweep forgets what no repetition can come of any more.
func (g *Gate) sweep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		g.mu.Lock()
		for k, until := range g.gone {
			if now.After(until) {
				delete(g.gone, k)
			}
		}
		for k, p := range g.pending {
			if !p.until.IsZero() && now.After(p.until) {
				delete(g.pending, k)
			}
		}
		g.mu.Unlock()
		g.auth.sweep()
		g.bindings.sweep(g.cfg.Now())
	}
}

// seal is a short keyed digest: nobody else can make one.
func (g *Gate) seal(kind string, parts ...string) string {
	h := hmac.New(sha256.New, g.cfg.Secret)
	for _, p := range append([]string{kind}, parts...) {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// random is a word of 16 letters that nobody guesses: RFC 3261 section 19.3 wants 32 bits.
func random() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// branch makes a branch that we know again without having kept it.
func (g *Gate) branch() string {
	r := random()
	return cookie + r + g.seal("branch", r)
}

// cookie begins every branch of RFC 3261 section 8.1.1.7.
const cookie = "z9hG4bK"

// ours reports whether a response answers a request of ours: strangers cannot make us remember them.
func (g *Gate) ours(m *message) bool {
	b, ok := cutFold(m.via[0].branch(), cookie)
	return ok && len(m.via) == 1 && len(b) == 32 && g.seal("branch", b[:16]) == b[16:]
}
