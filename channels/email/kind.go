package email

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"tributary/channels"
	"tributary/channels/internal/address"
)

// Config is the settings of a mailbox.
type Config struct {
	Address string   `json:"address" required:"true" max:"254" doc:"The mailbox's address, which mails are sent from."`
	Name    string   `json:"name" max:"200" doc:"The name beside the address, such as that of the company."`
	Aliases []string `json:"aliases" max:"100" doc:"Other addresses whose mail comes to this mailbox. They are never written to."`

	IMAPHost     string `json:"imapHost" title:"IMAP host" required:"true" max:"253" doc:"Where mail is read."`
	IMAPPort     int    `json:"imapPort" title:"IMAP port" min:"0" max:"65535" doc:"0: 993, or 143 where the security is not tls."`
	IMAPSecurity string `json:"imapSecurity" title:"IMAP security" default:"tls" enum:"tls,starttls,none" doc:"none is for a server on this machine only."`
	IMAPUser     string `json:"imapUser" title:"IMAP user" max:"320" doc:"Empty: the address."`
	Folder       string `json:"folder" default:"INBOX" max:"500" doc:"The folder that is read."`
	From         string `json:"from" title:"Start from" default:"now" enum:"now,all" doc:"now: what arrives from now on. all: also what is in the folder already."`
	AfterFetch   string `json:"afterFetch" default:"leave" enum:"leave,seen,move" doc:"What is done to a mail that was read in."`
	MoveTo       string `json:"moveTo" max:"500" doc:"The folder for afterFetch move."`
	SentFolder   string `json:"sentFolder" max:"500" doc:"Where a copy of each sent mail is kept. With it a send in doubt can be looked up."`

	SMTPHost     string `json:"smtpHost" title:"SMTP host" required:"true" max:"253" doc:"Where mail is handed in."`
	SMTPPort     int    `json:"smtpPort" title:"SMTP port" min:"0" max:"65535" doc:"0: 465 for tls, 587 for starttls, 25 for none."`
	SMTPSecurity string `json:"smtpSecurity" title:"SMTP security" default:"tls" enum:"tls,starttls,none" doc:"none is for a server on this machine only."`
	SMTPUser     string `json:"smtpUser" title:"SMTP user" max:"320" doc:"Empty: the IMAP user."`

	TLSCA         string   `json:"tlsCa" title:"Certificate authority" max:"65536" doc:"PEM certificates to trust in place of the system's, for servers with a certificate of their own."`
	AuthservIDs   []string `json:"authservIds" title:"Authentication servers" max:"20" doc:"Names by which our own mail servers sign Authentication-Results; the verdicts of others are ignored."`
	PlusAddresses bool     `json:"plusAddresses" default:"true" doc:"The mailbox also takes mail for address+anything: answers and bounces then find their message by the address."`
	Locale        string   `json:"locale" max:"35" doc:"The language most mails are in, such as zh-CN: it decides about texts that name no charset."`
	Signature     string   `json:"signature" max:"4000" doc:"Stands under every mail."`

	IMAPPassword channels.Secret `json:"imapPassword" title:"IMAP password" required:"true" rotates:"true"`
	SMTPPassword channels.Secret `json:"smtpPassword" title:"SMTP password" rotates:"true"`
}

// The values of the settings.
const (
	securityTLS      = "tls"
	securityStartTLS = "starttls"
	securityNone     = "none"

	fromNow = "now"

	afterLeave = "leave"
	afterSeen  = "seen"
	afterMove  = "move"
)

// Validate implements channels.Validator.
func (c Config) Validate() error {
	if _, ok := address.Email(c.Address); !ok {
		return &channels.FieldError{Field: "address", Message: "must be a mail address"}
	}
	for i, alias := range c.Aliases {
		if _, ok := address.Email(alias); !ok {
			return &channels.FieldError{Field: fmt.Sprintf("aliases[%d]", i), Message: "must be a mail address"}
		}
	}
	if err := checkServer("imap", c.IMAPHost, c.IMAPSecurity); err != nil {
		return err
	}
	if err := checkServer("smtp", c.SMTPHost, c.SMTPSecurity); err != nil {
		return err
	}
	if c.AfterFetch == afterMove && (c.MoveTo == "" || c.MoveTo == c.Folder) {
		return &channels.FieldError{Field: "moveTo", Message: "must be another folder than the one that is read"}
	}
	if c.TLSCA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.TLSCA)) {
		return &channels.FieldError{Field: "tlsCa", Message: "must hold a certificate in PEM"}
	}
	return nil
}

var hostShape = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$`)

func checkServer(protocol, host, security string) error {
	if _, err := netip.ParseAddr(host); err != nil && !hostShape.MatchString(host) {
		return &channels.FieldError{Field: protocol + "Host", Message: "must be a host name or an IP address"}
	}
	if security == securityNone && !loopback(host) {
		return &channels.FieldError{Field: protocol + "Security", Message: "may be none for a server on this machine only"}
	}
	return nil
}

// loopback tells the machine itself. A name but localhost may lead anywhere, so
// it does not count.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// Kind is the description that init registers.
var Kind = channels.Kind{
	Name:         "email",
	Title:        "E-mail",
	Description:  "A mailbox, read by IMAP and answered by SMTP.",
	Config:       Config{},
	Capabilities: capabilities,
	Live:         channels.Asynchronous,
	JoinOpen:     false,
	Identities:   []string{channels.IdentityEmail},
	Open:         open,
}

func init() { channels.Register(Kind) }

// maxAttachment leaves room for base64 (four bytes for three, and line ends) in
// maxMail.
const maxAttachment = 18 << 20

var capabilities = channels.Capabilities{
	Text: true, Link: true, Location: true, Recipients: true, Subject: true, Starts: true,
	Idempotency: channels.IdempotencyNone,
	Attachments: map[channels.MediaKind]channels.MediaRule{
		channels.MediaImage: {MaxBytes: maxAttachment}, channels.MediaVoice: {MaxBytes: maxAttachment},
		channels.MediaVideo: {MaxBytes: maxAttachment}, channels.MediaFile: {MaxBytes: maxAttachment},
	},
}

// mailbox is an opened channel.
type mailbox struct {
	config Config
	host   channels.Host
	reader *reader
	roots  *x509.CertPool // nil: the system's
	wires  wires

	turn chan struct{} // held by the fetch that runs; guards the fields below
	kept *session      // the connection between fetches
	done []place       // what was read and waits for its flag or its move
	bare map[place]bool
}

var (
	_ channels.Fetcher       = (*mailbox)(nil)
	_ channels.Watcher       = (*mailbox)(nil)
	_ channels.Sender        = (*mailbox)(nil)
	_ channels.HealthChecker = (*mailbox)(nil)
)

// keeper is a mailbox with a folder of sent mails, which can be searched.
type keeper struct{ *mailbox }

var (
	_ channels.DeliveryQuerier = keeper{}
	_ channels.Declares        = keeper{}
	_ channels.Guarantees      = keeper{}
)

func open(cfg any, host channels.Host) (channels.Channel, error) {
	c, ok := cfg.(Config)
	if !ok {
		return nil, channels.ConfigError(fmt.Errorf("open email channel: configuration is a %T", cfg))
	}
	if !c.IMAPPassword.Set() {
		return nil, channels.ConfigError(fmt.Errorf("open email channel: no password")).WithText("The password is not set.")
	}
	m := &mailbox{config: c, host: host, turn: make(chan struct{}, 1), bare: map[place]bool{}}
	m.reader = &reader{
		own: c.own(), marks: c.PlusAddresses, authserv: c.AuthservIDs, locale: c.Locale,
		blob: host.Blob, clock: host.Clock,
	}
	if c.TLSCA != "" {
		m.roots = x509.NewCertPool()
		m.roots.AppendCertsFromPEM([]byte(c.TLSCA))
	}
	if c.SentFolder != "" {
		return keeper{m}, nil
	}
	return m, nil
}

// own lists our addresses in lower case.
func (c Config) own() []string {
	list := []string{address.Lower(c.Address)}
	for _, alias := range c.Aliases {
		list = append(list, address.Lower(alias))
	}
	return list
}

// Guarantee implements channels.Guarantees.
func (k keeper) Guarantee() channels.Idempotency { return channels.IdempotencyQueryable }

// Capabilities implements channels.Declares.
func (k keeper) Capabilities() channels.Capabilities {
	c := capabilities
	c.Idempotency = k.Guarantee()
	return c
}

// Live implements channels.Declares.
func (k keeper) Live() channels.Liveness { return channels.Asynchronous }

// Close implements channels.Channel: it cuts every connection, so that what runs
// on one fails at once, and waits for the goroutines of the kept one.
func (m *mailbox) Close() error {
	m.wires.close()
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	m.drop()
	return nil
}

// split cuts an address at its last at-sign; a local part may hold one, quoted.
func split(addr string) (local, domain string) {
	at := strings.LastIndexByte(addr, '@')
	return addr[:max(at, 0)], addr[at+1:]
}

// server is one of the two servers, as the settings say.
type server struct {
	protocol, host, addr string
	security             string
	user                 string
	passwords            []string // the current one first
}

func (c Config) imap() server {
	port := map[string]int{securityTLS: 993}[c.IMAPSecurity]
	return server{
		protocol: "imap", host: c.IMAPHost, addr: join(c.IMAPHost, c.IMAPPort, port, 143), security: c.IMAPSecurity,
		user: first(c.IMAPUser, c.Address), passwords: c.IMAPPassword.All(),
	}
}

func (c Config) smtp() server {
	port := map[string]int{securityTLS: 465, securityStartTLS: 587}[c.SMTPSecurity]
	passwords := c.SMTPPassword.All()
	if len(passwords) == 0 {
		passwords = c.IMAPPassword.All()
	}
	return server{
		protocol: "smtp", host: c.SMTPHost, addr: join(c.SMTPHost, c.SMTPPort, port, 25), security: c.SMTPSecurity,
		user: first(c.SMTPUser, c.IMAPUser, c.Address), passwords: passwords,
	}
}

func join(host string, ports ...int) string {
	for _, port := range ports {
		if port != 0 {
			return net.JoinHostPort(host, fmt.Sprint(port))
		}
	}
	return host
}

func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
