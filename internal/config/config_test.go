package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tributary/internal/config"
)

// env is an environment of these variables alone.
func env(pairs ...string) func(string) string {
	return func(key string) string {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == key {
				return v
			}
		}
		return ""
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tributary.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func parse(t *testing.T, args []string, env func(string) string) (config.Command, *config.Config) {
	t.Helper()
	command, cfg, err := config.Parse(args, env, io.Discard)
	if err != nil {
		t.Fatalf("Parse(%q): %v", args, err)
	}
	return command, cfg
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]config.Command{
		"serve":         config.Serve,
		"demo":          config.Demo,
		"migrate":       config.Migrate,
		"token":         config.Token,
		"doctor":        config.Doctor,
		"config print":  config.ConfigPrint,
		"version":       config.Version,
		"--help":        config.Help,
		"serve --help":  config.Help,
		"config --help": config.Help,
	} {
		got, _ := parse(t, strings.Fields(args), env())
		if got != want {
			t.Errorf("%q is the command %q, want %q", args, got, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	_, c := parse(t, []string{"serve"}, env())
	if c.Data != "./data" || c.HTTP != "127.0.0.1:8080" || c.SIPTrunk != "127.0.0.1:5060" || c.SIPPhone != "127.0.0.1:5070" || c.Media().String() != "127.0.0.1" ||
		c.DatabaseURL.Set() || c.RedisURL.Set() || c.BehindProxy || c.Level() != slog.LevelInfo || c.Grace != 15*time.Second {
		t.Errorf("unexpected defaults: %+v", c)
	}
	if c.KeyPath() != "data/keys.json" {
		t.Errorf("the keys are at %s", c.KeyPath())
	}
	for _, r := range []config.Role{config.API, config.Channels, config.Telephony, config.Worker, config.Router} {
		if !c.Roles.Has(r) {
			t.Errorf("role %s is not on by default", r)
		}
	}
	if c.Limits.BudgetBI != (config.Budget{Points: 50_000, PerSecond: 200}) || c.Limits.LoginsPerAgent != (config.Rate{Times: 5, Per: 5 * time.Minute}) {
		t.Errorf("unexpected limits: %+v", c.Limits)
	}
	if c.Retention.Events.Duration() != 7*24*time.Hour || c.Retention.Audit.Duration() != 400*24*time.Hour {
		t.Errorf("unexpected retention: %+v", c.Retention)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	path := file(t, "http: 127.0.0.1:2\nlog-level: warn\nsip-trunk: off\nbudget-bi: 7@8\n")
	for name, tc := range map[string]struct {
		args []string
		env  func(string) string
		want string
	}{
		"default":                {nil, env(), "127.0.0.1:8080"},
		"file over default":      {[]string{"--config", path}, env(), "127.0.0.1:2"},
		"file by environment":    {nil, env("TRIBUTARY_CONFIG=" + path), "127.0.0.1:2"},
		"environment over file":  {[]string{"--config=" + path}, env("TRIBUTARY_HTTP=127.0.0.1:3"), "127.0.0.1:3"},
		"flag over environment":  {[]string{"--config", path, "--http", "127.0.0.1:4"}, env("TRIBUTARY_HTTP=127.0.0.1:3"), "127.0.0.1:4"},
		"empty variable is none": {[]string{"--config", path}, env("TRIBUTARY_HTTP="), "127.0.0.1:2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := parse(t, append([]string{"serve"}, tc.args...), tc.env)
			if c.HTTP != tc.want {
				t.Errorf("http is %s, want %s", c.HTTP, tc.want)
			}
		})
	}
	_, c := parse(t, []string{"serve", "--config", path}, env())
	if c.Level() != slog.LevelWarn || c.SIPTrunk.On() || c.Limits.BudgetBI.Points != 7 || c.File != path {
		t.Errorf("the file was not read: %+v", c)
	}
}

// Every flag must be reachable by its variable and by the file, also the one
// that somebody adds tomorrow.
func TestEveryFlagHasItsVariableAndKey(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"data": "/d", "key-file": "/k", "http": "127.0.0.1:1", "public-url": "https://x.example", "behind-proxy": "true",
		"trusted-proxy": "10.0.0.0/8,fd00::/8", "sip-trunk": "127.0.0.1:5080", "sip-phone": "127.0.0.1:5090", "sip-trunk-tls": "127.0.0.1:5091",
		"sip-certificate": "cert.pem", "sip-key": "key.pem", "media-address": "10.1.1.1", "media-ports": "4000-4009", "media-rtc": "4010",
		"database-url": "postgres://u:pw@h/d", "redis-url": "redis://h:6379", "blob-url": "s3://k:s@h/bucket", "peer": "127.0.0.1:5080",
		"peer-secret": "a secret of all nodes", "roles": "api,worker",
		"allow-dial": "mail=10.0.0.0/8:25,143;hook=fd00::/8", "log-level": "debug", "log-format": "json", "grace": "3s",
		"budget-agent": "1@1", "budget-app": "2@2", "budget-bi": "3@3", "budget-visitor": "4@0.5",
		"visitor-messages": "5/1m", "anonymous-queries": "6/1h", "logins-per-agent": "7/1m", "logins-per-address": "8/1m",
		"event-retention": "36h", "audit-retention": "200d",
	}
	var pairs, lines []string
	for name, v := range values {
		pairs = append(pairs, "TRIBUTARY_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"="+v)
		lines = append(lines, name+": "+fmt.Sprintf("%q", v))
	}
	_, fromEnv := parse(t, []string{"config", "print"}, env(append(pairs, "TRIBUTARY_CONFIG=")...))
	_, fromFile := parse(t, []string{"config", "print", "--config", file(t, strings.Join(lines, "\n"))}, env())
	printed := printed(t, fromEnv)
	if got := strings.ReplaceAll(printedWithoutHead(t, fromFile), "# file", "# environment"); got != printed {
		t.Errorf("file and environment differ:\n%s\n%s", got, printed)
	}
	for line := range strings.Lines(printed) {
		if !strings.HasSuffix(line, "# environment\n") {
			t.Errorf("not set by its variable, or missing in this test: %s", line)
		}
	}
	if n := strings.Count(printed, "\n"); n != len(values) {
		t.Errorf("%d settings are printed, %d known", n, len(values))
	}
}

func TestListsInTheFile(t *testing.T) {
	t.Parallel()
	_, c := parse(t, []string{"serve", "--config", file(t, `
behind-proxy: true
public-url: https://desk.example/
http: 0.0.0.0:80
trusted-proxy: [10.0.0.0/8, 192.168.1.0/24]
roles:
  - api
  - router
allow-dial:
  - mail=10.0.0.0/8:25,993
  - web-hook=127.0.0.1/32
`)}, env())
	if want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.1.0/24")}; !slices.Equal(c.TrustedProxies, want) {
		t.Errorf("trusted proxies %v", c.TrustedProxies)
	}
	if !slices.Equal(c.Roles, config.RoleSet{config.API, config.Router}) || c.Roles.Has(config.Worker) {
		t.Errorf("roles %v", c.Roles)
	}
	if mail := c.DialRules["mail"]; len(mail) != 1 || !slices.Equal(mail[0].Ports, []uint16{25, 993}) || len(c.DialRules["web-hook"]) != 1 {
		t.Errorf("dial rules %v", c.DialRules)
	}
	if c.PublicURL != "https://desk.example" {
		t.Errorf("public URL %s", c.PublicURL)
	}
}

func TestRepeatedFlags(t *testing.T) {
	t.Parallel()
	_, c := parse(t, []string{"serve", "--allow-dial", "mail=10.0.0.0/8:25,143", "--allow-dial=mail=fd00::/8:25", "--roles=api", "--roles=worker"}, env("TRIBUTARY_ROLES=router"))
	if len(c.AllowDial) != 2 || len(c.DialRules["mail"]) != 2 || !slices.Equal(c.Roles, config.RoleSet{config.API, config.Worker}) {
		t.Errorf("rules %v, roles %v", c.AllowDial, c.Roles)
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"--http 127.0.0.1:0", "--http localhost:80", "--http [::1]:80",
		"--http :80 --behind-proxy --public-url https://desk.example",
		"--http 0.0.0.0:80 --behind-proxy --public-url https://desk.example --trusted-proxy 10.0.0.0/8",
		"--public-url http://localhost:8080", "--sip-trunk 0.0.0.0:5060 --sip-phone off --media-address 10.0.0.7", "--sip-trunk off --sip-phone off --sip-trunk-tls off",
		"--media-ports 30000-30003 --media-rtc 3478",
		"--database-url postgresql://u@h/d?sslmode=disable", "--redis-url rediss://:pw@h:6379/1",
		"--log-level error --log-format json", "--audit-retention 183d", "--budget-visitor 1@0.001",
	} {
		if _, _, err := config.Parse(append([]string{"serve"}, strings.Fields(args)...), env(), io.Discard); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                                       "expected one of",
		"fly":                                    "unexpected argument fly",
		"serve --htpp 127.0.0.1:1":               "unknown flag --htpp, did you mean",
		"serve --http 8080":                      "--http: \"8080\" is not HOST:PORT",
		"serve --http 127.0.0.1:99999":           "--http: \"127.0.0.1:99999\" is not HOST:PORT",
		"serve --http 0.0.0.0:80":                "--behind-proxy",
		"serve --http :80":                       "--behind-proxy",
		"serve --http desk.example:80":           "--behind-proxy",
		"serve --http :80 --behind-proxy":        "--public-url",
		"serve --trusted-proxy 10.0.0.0/8":       "--trusted-proxy has no meaning without --behind-proxy",
		"serve --behind-proxy --trusted-proxy x": "\"x\" is not a network",
		"serve --behind-proxy --trusted-proxy 10.1.2.3/8": "did you mean 10.0.0.0/8?",
		"serve --public-url desk.example":                 "--public-url must have the form",
		"serve --public-url http://desk.example":          "must begin with https://",
		"serve --public-url https://u:pw@desk.example":    "--public-url must have the form",
		"serve --sip-trunk on":                            "--sip-trunk: \"on\" is not HOST:PORT, or off",
		"serve --sip-trunk :5060 --sip-phone off":         "--media-address is needed",
		"serve --sip-trunk-tls 127.0.0.1:5061":            "--sip-certificate",
		"serve --media-ports 30000-30002":                 "is not FROM-TO",
		"serve --media-address desk":                      "is not an IP address",
		"serve --media-ports 80-9000":                     "is not FROM-TO",
		"serve --sip-phone 1.2.3.4":                       "--sip-phone: \"1.2.3.4\" is not HOST:PORT, or off",
		"serve --database-url mysql://h/d":                "--database-url must begin with postgres://",
		"serve --database-url secretword":                 "--database-url: this is not an address",
		"serve --redis-url http://h":                      "--redis-url must begin with redis://",
		"serve --roles api,king":                          "unknown role \"king\"",
		"serve --roles api,api":                           "--roles names api twice",
		"serve --allow-dial 10.0.0.0/8":                   "--allow-dial: dial rule \"10.0.0.0/8\": want purpose=prefix",
		"serve --allow-dial mail=10.0.0.0/8:0":            "--allow-dial: dial rule",
		"serve --allow-dial mail=0.0.0.0/0":               "too wide",
		"serve --allow-dial mail=::/0":                    "too wide",
		"serve --log-level loud":                          "--log-level must be one of",
		"serve --log-format xml":                          "--log-format must be one of",
		"serve --grace 0s":                                "--grace must lie between",
		"serve --budget-app 5":                            "is not POINTS@PER-SECOND",
		"serve --budget-app 5@NaN":                        "is not POINTS@PER-SECOND",
		"serve --budget-app 0@5":                          "is not POINTS@PER-SECOND",
		"serve --logins-per-agent 0/5m":                   "is not N/TIME",
		"serve --event-retention 1m":                      "--event-retention must be at least 1h",
		"serve --event-retention 7w":                      "is not a time",
		"serve --audit-retention 10d":                     "--audit-retention must be at least 183d",
		"token --hours 0":                                 "--hours must lie between 1 and 720",
		"serve --hours 5":                                 "unknown flag --hours",
		"serve --config /does/not/exist":                  "read the configuration file",
	} {
		_, _, err := config.Parse(strings.Fields(args), env(), io.Discard)
		refusal(t, args, err, want)
	}
}

func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"htpp: 127.0.0.1:1":       `unknown key "htpp", did you mean "http"?`,
		"public_url: https://x.y": `unknown key "public_url", did you mean "public-url"?`,
		"colour: red":             `unknown key "colour"`,
		"config: other.yaml":      `unknown key "config"`,
		"http:":                   `key "http" has no value`,
		"http: {host: x}":         `key "http" holds a mapping`,
		"http: nowhere":           `--http: "nowhere" is not HOST:PORT`,
		"- a":                     "is not a YAML mapping",
		"roles: []":               "--roles must name at least one role",
		"http: [":                 "is not a YAML mapping",
		"http: a:1\nhttp: b:2":    "is not a YAML mapping",
	} {
		_, _, err := config.Parse([]string{"serve", "--config", file(t, text)}, env(), io.Discard)
		refusal(t, text, err, want)
	}
	if got, _ := parse(t, []string{"--help", "--config", file(t, "colour: red")}, env()); got != config.Help {
		t.Error("help does not work beside a broken file")
	}
}

// refusal checks the error and that it is one sentence.
func refusal(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%q is accepted", what)
	case !strings.Contains(err.Error(), want):
		t.Errorf("%q: %q does not say %q", what, err, want)
	case strings.ContainsAny(err.Error(), "\n"):
		t.Errorf("%q: not one line: %q", what, err)
	}
}

func TestTokenHours(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		env  func(string) string
		want int
	}{
		{[]string{"token"}, env(), 24},
		{[]string{"token", "--hours", "3"}, env(), 3},
		{[]string{"token"}, env("TRIBUTARY_HOURS=5"), 5},
	} {
		if _, c := parse(t, tc.args, tc.env); c.TokenHours != tc.want {
			t.Errorf("%v: %d hours, want %d", tc.args, c.TokenHours, tc.want)
		}
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	_, c := parse(t, []string{
		"serve",
		"--database-url", "postgres://desk:" + canary + "@db:5432/desk?sslpassword=" + canary,
		"--redis-url", "redis://:" + canary + "@cache:6379",
	}, env())
	if !strings.Contains(c.DatabaseURL.Clear(), canary) {
		t.Fatal("Clear does not give the address")
	}
	type wrapped struct{ inner config.Config }
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("start", "database", c.DatabaseURL, "config", c)
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"print": printed(t, c), "%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", *c), "%#v": fmt.Sprintf("%#v", c),
		"nested": fmt.Sprintf("%+v %#v", wrapped{*c}, wrapped{*c}), "json": string(encoded), "slog": log.String(),
		"%s": fmt.Sprintf("%s %q", c.DatabaseURL, c.RedisURL),
	} {
		if strings.Contains(text, canary) {
			t.Errorf("%s gives a password away: %s", name, text)
		}
	}
	if !strings.Contains(printed(t, c), "postgres://desk:xxxxx@db:5432/desk") {
		t.Errorf("the rest of the address is hidden, too: %s", printed(t, c))
	}
	_, _, err = config.Parse([]string{"serve", "--database-url", "postgres://u:" + canary + "%zz@h"}, env(), io.Discard)
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("the refusal gives a password away: %v", err)
	}
	_, _, err = config.Parse([]string{"serve", "--config", file(t, "database-url: [\"postgres://u:"+canary+"@h\"")}, env(), io.Discard)
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("the refusal of a file gives a password away: %v", err)
	}
}

// What config print writes must be a file that gives the same configuration.
func TestPrintIsAFile(t *testing.T) {
	t.Parallel()
	args := []string{
		"config", "print", "--trusted-proxy=10.0.0.0/8", "--behind-proxy", "--http=[::]:80", "--public-url=https://x.y",
		"--allow-dial=mail=10.0.0.0/8:25,143", "--allow-dial=hook=10.0.0.0/8", "--grace=90s", "--event-retention=36h",
	}
	_, c := parse(t, args, env())
	first := printed(t, c)
	if !strings.Contains(first, "grace: 1m30s # flag\n") || !strings.Contains(first, "data: ./data # default\n") {
		t.Errorf("unexpected form:\n%s", first)
	}
	_, again := parse(t, []string{"config", "print", "--config", file(t, first)}, env())
	strip := func(s string) (out string) {
		for line := range strings.Lines(s) {
			setting, _, _ := strings.Cut(line, " #")
			out += setting + "\n"
		}
		return out
	}
	if a, b := strip(first), strip(printedWithoutHead(t, again)); a != b {
		t.Errorf("printed and read again it differs:\n%s\n%s", a, b)
	}
}

func TestHelpNamesVariables(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if _, _, err := config.Parse([]string{"serve", "--help"}, env(), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--sip-trunk", "$TRIBUTARY_SIP_TRUNK", "$TRIBUTARY_CONFIG"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not name %s:\n%s", want, out.String())
		}
	}
}

func printed(t *testing.T, c *config.Config) string {
	t.Helper()
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// printedWithoutHead leaves out the line that names the file.
func printedWithoutHead(t *testing.T, c *config.Config) string {
	t.Helper()
	_, rest, _ := strings.Cut(printed(t, c), "\n")
	return rest
}
