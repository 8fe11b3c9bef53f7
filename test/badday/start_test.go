package badday_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tributary/test/rig"
)

// secret stands wherever a start that is refused could print it.
const secret = "s3cr3t-canary-91c4"

// TestStartIsRefused starts the program where it cannot run: it says why in one sentence and ends, and prints no secret.
func TestStartIsRefused(t *testing.T) {
	t.Parallel()
	busy := listener(t)
	silent := listener(t) // takes connections and never says a word
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	yaml := filepath.Join(dir, "tributary.yaml")
	write(t, file, "not a folder")
	write(t, yaml, "database-url: postgres://u:"+secret+"@127.0.0.1:1/x\nhtpp: 127.0.0.1:0\n")
	for name, c := range map[string]struct {
		says string
		args []string
	}{
		"busy port":            {busy, []string{"--http", busy, "--data", filepath.Join(dir, "a")}},
		"a file as folder":     {file, []string{"--data", file}},
		"a folder below it":    {file, []string{"--data", filepath.Join(file, "below")}},
		"nobody at the server": {"PostgreSQL", []string{"--data", filepath.Join(dir, "b"), "--database-url", "postgres://u:" + secret + "@127.0.0.1:1/x"}},
		"a silent server":      {"PostgreSQL", []string{"--data", filepath.Join(dir, "c"), "--database-url", "postgres://u:" + secret + "@" + silent + "/x?sslmode=disable"}},
		"a crooked address":    {"database", []string{"--data", filepath.Join(dir, "d"), "--database-url", "postgres//u:" + secret + "@127.0.0.1/x"}},
		"an open plain port":   {"proxy", []string{"--data", filepath.Join(dir, "e"), "--http", "0.0.0.0:0"}},
		"an unknown key":       {"htpp", []string{"--data", filepath.Join(dir, "f"), "--config", yaml}},
		"no such file":         {"nowhere.yaml", []string{"--config", filepath.Join(dir, "nowhere.yaml")}},
		"an unknown flag":      {"--htpp", []string{"--htpp", "127.0.0.1:0", "--database-url", "postgres://u:" + secret + "@127.0.0.1:1/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"serve"}, c.args...)
			if !strings.Contains(strings.Join(args, " "), "--http") {
				args = append(args, "--http", "127.0.0.1:0")
			}
			e := rig.Run(t, 15*time.Second, nil, args...)
			if e.Code != 1 {
				t.Errorf("exit code %d after %s\n%s%s", e.Code, e.Took, e.Out, e.Err)
			}
			if lines := strings.Split(strings.TrimSpace(e.Err), "\n"); len(lines) != 1 || !strings.Contains(lines[0], c.says) {
				t.Errorf("not one sentence about %q:\n%s", c.says, e.Err)
			}
			if strings.Contains(e.Out+e.Err, secret) {
				t.Errorf("the secret was printed:\n%s%s", e.Out, e.Err)
			}
			figures(t, "%s: %s", e.Took.Round(10*time.Millisecond), strings.TrimSpace(e.Err))
		})
	}
}

func listener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestStopIsGraceful ends the program by SIGTERM while a socket is open and a request is half sent: the socket is closed
// with 1012, the request is finished and its message kept, new ones are refused, and the exit code is 0.
func TestStopIsGraceful(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, o rig.Options) {
		t.Parallel()
		n := rig.Start(t, o)
		w := open(t, n)
		at := cursor(t, w.Admin)
		s, err := w.Admin.RawSocket(context.Background(), 0, `subscription{events(filter:{scope:ALL}){cursor}}`)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		text := rig.Unique("half")
		half, err := w.bridge.Half(context.Background(), []byte(`{"id":"`+text+`","kind":"message","from":{"id":"u"},"parts":[{"type":"text","text":"`+text+`"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- n.Stop() }()
		if _, code, err := rig.LastWord(s, 30*time.Second); code != 1012 {
			t.Errorf("the socket was closed with %d (%v), not 1012", code, err)
		}
		select {
		case err := <-ended:
			t.Fatalf("it did not wait for the request under way: %v", err)
		default:
		}
		if line, err := half.Finish(); err != nil || !strings.Contains(line, " 200 ") {
			t.Errorf("the request under way: %q %v", line, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("exit: %v", err)
		}
		figures(t, "ended %s after SIGTERM", time.Since(began).Round(time.Millisecond))
		if strings.Contains(n.Log.String(), "level=ERROR") {
			t.Errorf("errors while stopping:\n%s", n.Log)
		}
		n.Launch()
		n.Ready(30 * time.Second)
		w.arrives(t, at, text)
		w.goesOn(t)
	})
}
