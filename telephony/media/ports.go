package media

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ErrNoPort is returned when every pair of ports is in use or still rests.
var ErrNoPort = errors.New("no port is free for the sound of a call")

// quarantine is how long a pair rests after a call, so that late packets of the one never reach the next.
const quarantine = 2 * time.Second

// PortsConfig says which UDP ports carry sound.
type PortsConfig struct {
	// IP is bound; it is one address of this machine, not the unspecified one.
	IP netip.Addr
	// Advertise is written into SDP if the machine is reached by another address than IP.
	Advertise netip.Addr
	// Low and High bound the range, both included. A call takes an even port for RTP and the odd one above for RTCP
	// (RFC 3550 section 11).
	Low, High uint16
	// Now is the clock of the quarantine; nil: time.Now.
	Now func() time.Time
}

// Ports is the pool of UDP ports of a node. Safe for concurrent use.
type Ports struct {
	cfg PortsConfig

	mu sync.Mutex
	// free is in the order of freedom: the pair that has rested longest is taken first.
	free []resting
	used int
}

type resting struct {
	port  uint16
	until time.Time
}

// pair is the two bound sockets of one leg.
type pair struct {
	rtp, rtcp *net.UDPConn
	port      uint16
}

// NewPorts makes the pool. It opens nothing.
func NewPorts(cfg PortsConfig) (*Ports, error) {
	if !cfg.IP.IsValid() || cfg.IP.IsUnspecified() || cfg.IP.IsMulticast() {
		return nil, fmt.Errorf("sound needs one address of this machine, not %q", cfg.IP)
	}
	if !cfg.Advertise.IsValid() {
		cfg.Advertise = cfg.IP
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	low := int(cfg.Low) + int(cfg.Low)%2
	if low == 0 || low+1 > int(cfg.High) {
		return nil, fmt.Errorf("the ports %d to %d hold no even port with its odd one", cfg.Low, cfg.High)
	}
	p := &Ports{cfg: cfg}
	for port := low; port+1 <= int(cfg.High); port += 2 {
		p.free = append(p.free, resting{port: uint16(port)})
	}
	return p, nil
}

// InUse counts the pairs that are open.
func (p *Ports) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// open takes a pair and binds it. A pair that another program holds is left for the next try.
func (p *Ports) open() (pair, error) {
	p.mu.Lock()
	tries := len(p.free)
	p.mu.Unlock()
	var last error
	for range tries {
		port, ok := p.take()
		if !ok {
			break
		}
		got, err := p.bind(port)
		if err == nil {
			return got, nil
		}
		last = err
		p.release(port, 0)
	}
	if last != nil {
		return pair{}, fmt.Errorf("%w: %w", ErrNoPort, last)
	}
	return pair{}, ErrNoPort
}

func (p *Ports) take() (uint16, bool) {
	now := p.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range p.free {
		if !now.Before(r.until) {
			p.free = append(p.free[:i], p.free[i+1:]...)
			p.used++
			return r.port, true
		}
	}
	return 0, false
}

func (p *Ports) release(port uint16, rest time.Duration) {
	until := p.cfg.Now().Add(rest)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	p.free = append(p.free, resting{port, until})
}

func (p *Ports) bind(port uint16) (pair, error) {
	rtp, err := p.listen(port)
	if err != nil {
		return pair{}, err
	}
	rtcp, err := p.listen(port + 1)
	if err != nil {
		_ = rtp.Close()
		return pair{}, err
	}
	return pair{rtp: rtp, rtcp: rtcp, port: port}, nil
}

func (p *Ports) listen(port uint16) (*net.UDPConn, error) {
	network := "udp4"
	if p.cfg.IP.Is6() && !p.cfg.IP.Is4In6() {
		network = "udp6"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.cfg.IP, port)))
	if err != nil {
		return nil, fmt.Errorf("binding port %d for sound: %w", port, err)
	}
	return conn, nil
}

// close gives the pair back; it rests for the quarantine.
func (p *Ports) close(c pair) error {
	err := errors.Join(c.rtp.Close(), c.rtcp.Close())
	p.release(c.port, quarantine)
	return err
}
