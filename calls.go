package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"tributary/channels/voice"
	"tributary/internal/blob"
	"tributary/internal/config"
	"tributary/internal/dial"
	"tributary/telephony"
	"tributary/telephony/browser"
	"tributary/telephony/gate"
	"tributary/telephony/media"
)

// What joins the rooms of calls: the exchange, the SIP listeners, the ports of sound.

// lines are the SIP side and the sound of a node that has calls.
type lines struct {
	gate  *gate.Gate
	ports *media.Ports
	peers *browser.Peers
}

// exchange makes the part that runs calls and passes verbs on to other nodes. Every node has one; only those with the role
// telephony have lines.
func (h *house) exchange(ctx context.Context, files blob.Store) error {
	folder := filepath.Join(h.cfg.Data, "recordings")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("the folder %s cannot be made: %w", folder, err)
	}
	h.calls = telephony.New(ctx, telephony.Config{
		Node: h.node.Name, Epoch: h.epoch, Files: files, Folder: folder, Log: h.log, Ask: h.askNode, Lines: noLines{},
	})
	return nil
}

// noLines are those of a node without the role.
type noLines struct{}

var errNoLines = errors.New("this node has no SIP listeners")

func (noLines) DialTrunk(context.Context, voice.ID, gate.Outgoing) (gate.Dialog, error) {
	return nil, errNoLines
}

func (noLines) DialPhone(context.Context, voice.Registration, gate.Outgoing) (gate.Dialog, error) {
	return nil, errNoLines
}

// openLines opens the listeners. An address that nobody chose and that is taken by another program is given up: the rest
// of the service must start all the same.
func (h *house) openLines(ctx context.Context, guard *dial.Guard) (err error) {
	h.calls.Desk = h.desk.Voice()
	cfg := h.cfg
	if !cfg.Roles.Has(config.Telephony) || !cfg.SIPTrunk.On() && !cfg.SIPPhone.On() && !cfg.SIPTrunkTLS.On() {
		return nil
	}
	l := &lines{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.gate, err = h.openGate(ctx, guard); err != nil {
		return err
	}
	bind, advertise, err := soundAddress(cfg)
	if err != nil {
		return err
	}
	if l.ports, err = media.NewPorts(media.PortsConfig{IP: bind, Advertise: advertise, Low: cfg.MediaPorts.From, High: cfg.MediaPorts.To}); err != nil {
		return err
	}
	if l.peers, err = browser.NewPeers(browser.Config{IP: bind, Port: int(cfg.MediaRTC), Advertise: advertise, Log: h.log}); err != nil {
		return err
	}
	h.calls.Lines = l.gate
	h.calls.Port = func(prefer media.Codec) (telephony.Port, error) {
		return media.NewPort(l.ports, media.Config{Prefer: prefer, BehindNAT: true, SilentAfter: telephony.SilentAfter})
	}
	h.calls.Browser = func(ctx context.Context, offer string, prefer media.Codec) (telephony.Browser, string, error) {
		return l.peers.Answer(ctx, offer, prefer)
	}
	h.lines = l
	if a := l.gate.Addr("phone", "udp"); a.IsValid() {
		h.desk.PhoneRegistrar = registrar(h.desk.PublicURL, a.Port())
	}
	return nil
}

// registrar is where desk phones register: the name by which the outside reaches us, with the port of phones.
func registrar(publicURL string, port uint16) string {
	u, err := url.Parse(publicURL)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	return net.JoinHostPort(u.Hostname(), strconv.Itoa(int(port)))
}

func (h *house) openGate(ctx context.Context, guard *dial.Guard) (*gate.Gate, error) {
	cfg := h.cfg
	public := cfg.Media()
	g := gate.Config{
		Trunk: cfg.SIPTrunk.Address(), Phone: cfg.SIPPhone.Address(), TrunkTLS: cfg.SIPTrunkTLS.Address(), Certificate: cfg.SIPCertificate, Key: cfg.SIPKey,
		PublicIP: public, Node: h.node.Name, Epoch: h.epoch, Desk: h.calls.Desk, Secret: h.box.Key("sip"), Incoming: h.calls.Incoming, Log: h.log,
		Dial: guard.Dialer(dial.SIP),
	}
	opened, err := gate.Open(ctx, g)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return opened, err
	}
	// Which of the two is taken is not worth a guess: a free port each, and the log says which.
	if !cfg.Chosen("sip-trunk") {
		g.Trunk = anyPort(g.Trunk)
	}
	if !cfg.Chosen("sip-phone") {
		g.Phone = anyPort(g.Phone)
	}
	if g.Trunk == cfg.SIPTrunk.Address() && g.Phone == cfg.SIPPhone.Address() {
		return nil, fmt.Errorf("the addresses of --sip-trunk and --sip-phone cannot be listened on: %w", err)
	}
	if opened, err = gate.Open(ctx, g); err == nil {
		h.log.InfoContext(ctx, "the usual ports of SIP are taken, others are used", "trunk", opened.Addr("trunk", "udp"), "phone", opened.Addr("phone", "udp"))
	}
	return opened, err
}

func anyPort(addr string) string {
	if host, _, ok := strings.Cut(addr, ":"); ok {
		return host + ":0"
	}
	return addr
}

// soundAddress is what is bound for sound, and what is said instead where the machine is reached through another one.
func soundAddress(cfg *config.Config) (bind, advertise netip.Addr, err error) {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return bind, advertise, fmt.Errorf("read this machine's addresses: %w", err)
	}
	said := cfg.Media()
	var first netip.Addr
	for _, a := range own {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		ip := p.Addr().Unmap()
		if ip == said || said.IsLoopback() {
			return said, advertise, nil
		}
		if !first.IsValid() && ip.Is4() == said.Is4() && ip.IsGlobalUnicast() {
			first = ip
		}
	}
	if !first.IsValid() {
		return bind, advertise, fmt.Errorf("--media-address %s: this machine has no address that could stand behind it", said)
	}
	return first, said, nil
}

// runCalls runs the SIP side until ctx ends, and the calls of this node. Calls end first: their goodbyes need the lines.
func (h *house) runCalls(ctx context.Context) error {
	if h.lines == nil {
		return h.calls.Run(ctx)
	}
	linesCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- h.lines.gate.Run(linesCtx) }()
	callsCtx, end := context.WithCancel(ctx)
	defer end()
	ran := make(chan error, 1)
	go func() { ran <- h.calls.Run(callsCtx) }()
	var err error
	select {
	case err = <-failed:
		end()
		return errors.Join(err, <-ran)
	case <-ctx.Done():
		h.lines.gate.Drain()
	}
	err = <-ran
	stop()
	return errors.Join(err, <-failed)
}

func (l *lines) close() {
	if l.gate != nil {
		l.gate.Close()
	}
	if l.peers != nil {
		_ = l.peers.Close()
	}
}

// askNode asks another node for something of a call.
func (h *house) askNode(ctx context.Context, node, method string, in, out any) error {
	if h.client == nil {
		return voice.ErrUnreachable
	}
	all, err := h.member.Live(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", voice.ErrUnreachable, err)
	}
	for _, n := range all {
		if n.Name == node && n.Peer != "" {
			return telephony.AskJSON(ctx, h.client, n.Peer, node, method, in, out)
		}
	}
	return voice.ErrUnreachable
}

// sayLines prints where phones and trunks come in.
func (h *house) sayLines(out io.Writer) {
	if h.lines == nil {
		return
	}
	for _, door := range []string{"trunk", "phone"} {
		if a := h.lines.gate.Addr(door, "udp"); a.IsValid() {
			fmt.Fprintf(out, "  SIP %-9s %s (UDP, TCP)\n", door, a)
		}
	}
}
