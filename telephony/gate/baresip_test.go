package gate

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A real phone, baresip, registers by digest, is called over its registration, and is hung up.
func TestBaresip(t *testing.T) {
	path, err := exec.LookPath("baresip")
	if err != nil {
		if os.Getenv("TEST_REQUIRE_SERVERS") == "1" {
			t.Fatal("baresip is not installed (package baresip-core)")
		}
		t.Skip("SKIPPED: baresip is not installed (package baresip-core)")
	}
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			w := open(t, nil)
			dir := t.TempDir()
			files := map[string]string{
				"config": "poll_method epoll\nsip_listen 127.0.0.1:0\naudio_player aubridge,a\naudio_source aubridge,a\naudio_alert aubridge,b\n" +
					"module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aubridge.so\nmodule_app account.so\nmodule_app menu.so\n",
				"accounts": fmt.Sprintf("<sip:alice@%s;transport=%s>;auth_user=alice;auth_pass=secret;answermode=auto;regint=60\n", w.Addr("phone", network), network),
				"contacts": "",
			}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cmd := exec.CommandContext(ctx, path, "-f", dir)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			defer func() {
				cancel()
				if err := <-ended; err == nil {
					t.Error("it ended by itself")
				}
				if t.Failed() {
					t.Log(out.String())
				}
			}()
			select {
			case r := <-w.desk.registered:
				if r.Transport != network || r.Phone != "pho_alice" || time.Until(r.Expires) < 50*time.Second {
					t.Errorf("registered %+v", r)
				}
				d, err := w.DialPhone(t.Context(), r, Outgoing{From: "+49170555", SDP: []byte(offerSDP)})
				if err != nil {
					t.Fatal(err)
				}
				for {
					e := <-d.Events()
					if e.Kind == EventAnswered {
						if len(e.SDP) == 0 {
							t.Error("no SDP")
						}
						break
					}
					if e.Kind != EventRinging {
						t.Fatalf("event %+v", e)
					}
				}
				answer, err := d.Reoffer(t.Context(), bytes.Replace([]byte(offerSDP), []byte("m=audio"), []byte("a=sendonly\r\nm=audio"), 1))
				if err != nil || len(answer) == 0 {
					t.Errorf("held: %q, %v", answer, err)
				}
				d.HangUp("done")
				event(t, d, EventEnded)
				w.settle()
			case <-time.After(patience):
				t.Fatal("it does not register")
			}
		})
	}
}
