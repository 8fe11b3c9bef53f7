package media

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBaresip: a phone that others wrote offers a call; its offer is answered, and its tone and keys are heard.
func TestBaresip(t *testing.T) {
	binary, err := exec.LookPath("baresip")
	if err != nil {
		if os.Getenv("TEST_REQUIRE_SERVERS") == "1" {
			t.Fatal("there is no baresip here, and no real phone was asked")
		}
		t.Skip("SKIPPED: there is no baresip here, and no real phone was asked")
	}
	gate, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	_ = gate.SetReadDeadline(time.Now().Add(patience))
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config": "sip_listen 127.0.0.1:0\nnet_interface 127.0.0.1\nmodule_path /usr/lib/baresip/modules\nmodule stdio.so\nmodule g711.so\n" +
			"module ausine.so\nmodule_app account.so\nmodule_app menu.so\naudio_player ausine,440\naudio_source ausine,440\nausrc_srate 48000\nausrc_channels 2\n",
		"accounts": fmt.Sprintf("<sip:a@%s;transport=udp>;regint=0;audio_codecs=PCMA\n", gate.LocalAddr()),
		"contacts": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "-f", dir, "-e", fmt.Sprintf("/dial sip:b@%s", gate.LocalAddr()))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = in.Close()
	}()

	p := onePort(t, Config{})
	e := newEar()
	p.Forward(e)
	answerInvite(t, gate, p)
	notice(t, p, NoticeUp)
	e.until(t, "a second of sound", func() bool { return len(e.heard()) >= 2*rate })
	if db := clear(e.heard()[rate:2*rate], 440, 300, 600, 1000, 2000, 3000); db < 20 {
		t.Errorf("440 Hz stands %.1f dB over the rest", db)
	}
	for _, key := range "4#" {
		if _, err := in.Write([]byte(string(key))); err != nil {
			t.Fatal(err)
		}
		if n := notice(t, p, NoticeDigit); n.Digit != byte(key) {
			t.Errorf("heard %q, not %q", n.Digit, key)
		}
	}
	if s := p.Stats(); p.Codec() != PCMA || s.Dropped != 0 || s.Lost != 0 {
		t.Errorf("codec %d, %+v", p.Codec(), s)
	}
}

// answerInvite takes the INVITE that comes and answers it with 200.
func answerInvite(t *testing.T, gate *net.UDPConn, p *Port) {
	t.Helper()
	buf := make([]byte, 9000)
	n, from, err := gate.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatalf("no call came: %v", err)
	}
	head, body, _ := strings.Cut(string(buf[:n]), "\r\n\r\n")
	answer, err := p.Answer([]byte(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	reply := "SIP/2.0 200 OK\r\n"
	for _, l := range strings.Split(head, "\r\n")[1:] {
		switch name, _, _ := strings.Cut(l, ":"); name {
		case "To":
			reply += l + ";tag=1\r\n"
		case "Via", "From", "Call-ID", "CSeq":
			reply += l + "\r\n"
		}
	}
	reply += fmt.Sprintf("Contact: <sip:b@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", gate.LocalAddr(), len(answer), answer)
	if _, err := gate.WriteToUDPAddrPort([]byte(reply), from); err != nil {
		t.Fatal(err)
	}
}
