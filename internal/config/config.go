// Package config turns the command line, the environment and one YAML file
// into a typed configuration.
//
// A setting has one name in three spellings: the flag --public-url, the
// variable TRIBUTARY_PUBLIC_URL and the file's key public-url. A flag wins
// over the environment, the environment over the file, the file over the
// default. What is unknown or makes no sense is refused with one sentence
// before anything has started, because a service that starts with half of
// its settings is harder to find than one that does not start.
//
// Neighbours: main.go calls Parse and hands single values on; no other
// package imports this one, so that every room can be tested with plain
// arguments.
//
// Invariants: a Config that left Parse is valid as a whole; credentials are
// held in types that never print them. The package has no state and starts
// no goroutine.
package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"tributary/internal/dial"
)

// Command is what the program was asked to do, spelled as it is typed.
type Command string

// The commands of the program. Help means that the help was asked for and has
// been printed: there is nothing left to do.
const (
	Serve       Command = "serve"
	Migrate     Command = "migrate"
	Token       Command = "token"
	Doctor      Command = "doctor"
	ConfigPrint Command = "config print"
	Version     Command = "version"
	Demo        Command = "demo"
	Help        Command = "help"
)

// Config is the whole configuration of one process.
// The tags are read by kong and by Print; a field with a name tag is a setting.
type Config struct {
	Data           string         `name:"data" default:"./data" placeholder:"DIR" help:"Folder of the embedded database, files and keys."`
	KeyFile        string         `name:"key-file" placeholder:"FILE" help:"Keys that seal secrets at rest; all nodes of one service need the same. Empty: keys.json in --data."`
	HTTP           string         `name:"http" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address of the API and of web hooks."`
	PublicURL      string         `name:"public-url" placeholder:"URL" help:"Address under which the outside reaches this service. Empty: the address of --http."`
	BehindProxy    bool           `name:"behind-proxy" help:"A proxy in front ends TLS: allows plain HTTP on other addresses than loopback."`
	TrustedProxies []netip.Prefix `name:"trusted-proxy" placeholder:"CIDR" help:"Proxies whose word on a client's address counts; several with commas."`

	SIPTrunk       HostPort  `name:"sip-trunk" default:"127.0.0.1:5060" placeholder:"HOST:PORT" help:"Address where SIP trunks reach us over UDP and TCP, or off."`
	SIPTrunkTLS    HostPort  `name:"sip-trunk-tls" default:"off" placeholder:"HOST:PORT" help:"Address where SIP trunks reach us over TLS, or off."`
	SIPCertificate string    `name:"sip-certificate" placeholder:"FILE" help:"Certificate of --sip-trunk-tls, PEM."`
	SIPKey         string    `name:"sip-key" placeholder:"FILE" help:"Key of the certificate, PEM."`
	SIPPhone       HostPort  `name:"sip-phone" default:"127.0.0.1:5070" placeholder:"HOST:PORT" help:"Address where desk phones register over UDP and TCP, or off."`
	MediaAddress   string    `name:"media-address" placeholder:"IP" help:"Address where trunks, phones and browsers send their sound. Empty: that of --sip-trunk or --sip-phone."`
	MediaPorts     PortRange `name:"media-ports" default:"20000-29999" placeholder:"FROM-TO" help:"UDP ports of calls over SIP, two each."`
	MediaRTC       uint16    `name:"media-rtc" default:"0" placeholder:"PORT" help:"UDP port of all calls in browsers; 0 takes a free one."`

	DatabaseURL URL `name:"database-url" placeholder:"URL" help:"PostgreSQL address. Empty: an embedded database in --data."`
	RedisURL    URL `name:"redis-url" placeholder:"URL" help:"Redis address: wake-ups and limits of several nodes go through it. Empty: through PostgreSQL."`
	BlobURL     URL `name:"blob-url" placeholder:"URL" help:"S3-compatible store of files: s3://KEY:SECRET@HOST[:PORT]/BUCKET[/PREFIX][?region=R&tls=off]; needed by several nodes. Empty: a folder in --data."`

	Peer       HostPort `name:"peer" default:"off" placeholder:"HOST:PORT" help:"Address where this node takes requests of others, as they reach it, or off."`
	PeerSecret Secret   `name:"peer-secret" placeholder:"TEXT" help:"What all nodes of one service share, at least 16 characters. Better in the environment or the file than on the command line."`

	Roles RoleSet `name:"roles" default:"api,channels,telephony,worker,router" placeholder:"ROLE" help:"What this node does: api, channels, telephony, worker, router."`

	AllowDial []string `name:"allow-dial" sep:";" placeholder:"PURPOSE=CIDR[:PORTS]" help:"Addresses beyond the usual ones that connections of one purpose may reach; repeatable. In the environment several are separated by semicolons."`

	LogLevel  string        `name:"log-level" placeholder:"LEVEL" default:"info" enum:"debug,info,warn,error" help:"Least level that is logged: debug, info, warn, error."`
	LogFormat string        `name:"log-format" placeholder:"FORM" default:"text" enum:"text,json" help:"Form of the log: text, json."`
	Grace     time.Duration `name:"grace" default:"15s" placeholder:"TIME" help:"How long running work may take to end when the service stops."`

	Limits    Limits    `embed:""`
	Retention Retention `embed:""`

	// DialRules is AllowDial, read.
	DialRules map[dial.Purpose][]dial.Rule `kong:"-"`

	// Show is what the command demo shows.
	Show Show `kong:"-"`

	// TokenHours is the life of the token that the command token prints.
	TokenHours int `kong:"-"`

	// File is the configuration file that was read, if any.
	File string `kong:"-"`

	sources map[string]source
}

// Chosen reports whether a setting was given by anybody: a default may be given up where it cannot be had.
func (c *Config) Chosen(name string) bool { _, set := c.sources[name]; return set }

// Limits are the budgets and rates that an operator may change; all other
// limits are part of the contract and constant.
type Limits struct {
	BudgetAgent      Budget `name:"budget-agent" default:"10000@500" placeholder:"POINTS@PER-SECOND" help:"Query points of one agent session and their refill."`
	BudgetApp        Budget `name:"budget-app" default:"10000@500" placeholder:"POINTS@PER-SECOND" help:"Query points of one app key and their refill."`
	BudgetBI         Budget `name:"budget-bi" default:"50000@200" placeholder:"POINTS@PER-SECOND" help:"Query points of one BI key and their refill."`
	BudgetVisitor    Budget `name:"budget-visitor" default:"1000@20" placeholder:"POINTS@PER-SECOND" help:"Query points of one visitor and their refill."`
	VisitorMessages  Rate   `name:"visitor-messages" default:"20/1m" placeholder:"N/TIME" help:"Messages that one visitor may write."`
	AnonymousQueries Rate   `name:"anonymous-queries" default:"100/1h" placeholder:"N/TIME" help:"Operations without a token from one address."`
	LoginsPerAgent   Rate   `name:"logins-per-agent" default:"5/5m" placeholder:"N/TIME" help:"Login attempts for one agent."`
	LoginsPerAddress Rate   `name:"logins-per-address" default:"5/5m" placeholder:"N/TIME" help:"Login attempts from one address."`
}

// Retention says how long records are kept that no person deletes.
type Retention struct {
	Events Span `name:"event-retention" default:"7d" placeholder:"TIME" help:"How far back a client can resume the event log, for instance 7d or 36h."`
	Audit  Span `name:"audit-retention" default:"400d" placeholder:"TIME" help:"How long audit records are kept; at least 183d."`
}

// commandLine is the grammar of the command line. The settings hang on the
// root, so that every command reads them alike and config print shows all.
type commandLine struct {
	Config `embed:""`

	File string `name:"config" placeholder:"FILE" help:"YAML file with settings, keyed by the names of these flags."`

	Serve   struct{} `cmd:"" help:"Run the service."`
	Demo    Show     `cmd:"" help:"Run the service with a seeded workspace and simulated people in it, apart from your data."`
	Migrate struct{} `cmd:"" help:"Bring the database to this version's form and end."`
	Token   struct {
		Hours int `name:"hours" default:"24" help:"Hours until the token ends."`
	} `cmd:"" help:"Print an operator token."`
	Doctor      struct{} `cmd:"" help:"Check configuration, database, Redis and ports."`
	ConfigGroup struct {
		Print struct{} `cmd:"" help:"Print the effective values; secrets are hidden."`
	} `cmd:"" name:"config" help:"Work with the configuration."`
	Version struct{} `cmd:"" help:"Print the version."`
}

// Parse reads args (without the program's name), the environment and the file
// named by them. Help goes to out. The error is one sentence for a person.
func Parse(args []string, env func(string) string, out io.Writer) (Command, *Config, error) {
	var line commandLine
	src := &settings{env: env, used: map[string]source{}}
	helped := false
	parser, err := newParser(&line, src, out, func(int) { helped = true })
	if err != nil {
		return "", nil, fmt.Errorf("build the command line: %w", err)
	}
	if err := src.find(parser, args); err != nil {
		return "", nil, err
	}
	ctx, err := parser.Parse(args)
	if helped {
		return Help, nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	cfg := line.Config
	cfg.File, cfg.TokenHours, cfg.Show, cfg.sources = src.path, line.Token.Hours, line.Demo, src.used
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			cfg.sources[p.Flag.Name] = fromFlag
		}
	}
	command := Command(ctx.Command())
	if command == Demo {
		cfg.adapt()
	}
	if err := cfg.validate(command); err != nil {
		return "", nil, err
	}
	return command, &cfg, nil
}

func newParser(line *commandLine, src *settings, out io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(line,
		kong.Name("tributary"),
		kong.Description("The back end of a customer-service desk, in one program. "+
			"Every flag is also an environment variable and a key of the file of --config; a flag wins over the environment, the environment over the file."),
		kong.Writers(out, out),
		kong.Exit(exit),
		kong.Resolvers(src),
		kong.TypeMapper(reflect.TypeFor[netip.Prefix](), kong.MapperFunc(decodePrefix)),
		kong.ValueFormatter(func(v *kong.Value) string {
			if v.Flag == nil || v.Name == "help" {
				return v.Help
			}
			if v.HasDefault {
				return fmt.Sprintf("%s Default %s ($%s)", v.Help, v.Default, variable(v.Name))
			}
			return v.Help + " ($" + variable(v.Name) + ")"
		}),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	)
}

// variable is the environment's name of a flag.
func variable(flag string) string {
	return "TRIBUTARY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// KeyPath is the file with the keys that seal secrets at rest.
func (c *Config) KeyPath() string {
	if c.KeyFile != "" {
		return c.KeyFile
	}
	return filepath.Join(c.Data, "keys.json")
}

// Level is the least level that is logged.
func (c *Config) Level() slog.Level {
	var l slog.Level
	// validate has refused every other text.
	_ = l.UnmarshalText([]byte(c.LogLevel))
	return l
}
