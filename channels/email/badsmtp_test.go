package email

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"tributary/channels"
)

// dialogue is an SMTP server that answers each line, from the first empty one
// on, as a test wants it to.
func dialogue(t *testing.T, answer func(line string, w io.Writer) error) settings {
	t.Helper()
	addr := serve(t, func(l net.Listener) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = c.Close() })
			go func() {
				defer c.Close()
				lines := bufio.NewScanner(c)
				for err := answer("", c); err == nil && lines.Scan(); {
					err = answer(lines.Text(), c)
				}
			}()
		}
	})
	_, port, _ := net.SplitHostPort(addr)
	return settings{"smtpPort": number(port)}
}

// TestErrorsHoldNoPassword: some servers repeat the line that they refuse.
func TestErrorsHoldNoPassword(t *testing.T) {
	t.Parallel()
	const password = `cor"rect\horse`
	forms := []string{
		password, `cor\"rect\\horse`, base64.StdEncoding.EncodeToString([]byte(password)),
		base64.StdEncoding.EncodeToString([]byte("\x00" + us + "\x00" + password)),
	}
	check := func(name string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		for _, form := range forms {
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), form) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		for _, code := range []int{454, 501, 535} {
			said := 0
			d := openWith(t, newWorld(t).settings(dialogue(t, func(line string, w io.Writer) (err error) {
				switch {
				case line == "":
					_, err = fmt.Fprint(w, "220 mx.example\r\n")
				case strings.HasPrefix(line, "EHLO"):
					_, err = fmt.Fprintf(w, "250-mx.example\r\n250 AUTH %s\r\n", mechanism)
				case mechanism == "LOGIN" && said < 2:
					said++
					_, err = fmt.Fprint(w, "334 VXNlcm5hbWU6\r\n")
				default:
					_, err = fmt.Fprintf(w, "%d 5.7.0 Unrecognized: %s\r\n", code, line)
				}
				return err
			})), password)
			_, err := d.send(t, outbound("msg_1"))
			check(fmt.Sprint(mechanism, " ", code), err)
		}
	}
	for _, caps := range []string{"IMAP4rev1", "IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR"} {
		s := newScript(t, func(command string, _ io.Writer) (string, error) {
			if strings.HasPrefix(command, "LOGIN") || strings.HasPrefix(command, "AUTHENTICATE") {
				return "NO Unrecognized: " + command, nil
			}
			return "", nil
		})
		s.greeting = "* OK [CAPABILITY " + caps + "] ready\r\n"
		d := openWith(t, (&world{imapAddr: s.addr, smtpAddr: s.addr}).settings(), password)
		_, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), channels.Cursor{})
		check(caps, err)
	}
}

// TestEndlessAnswers: a server that never ends what it says fills no memory.
func TestEndlessAnswers(t *testing.T) { //nolint:paralleltest // measures memory
	flood := func(w io.Writer, text string) error {
		text = strings.Repeat(text, 64<<10/len(text))
		for sent := 0; sent < 1<<30; sent += len(text) {
			if _, err := io.WriteString(w, text); err != nil {
				return err
			}
		}
		return io.ErrShortWrite
	}
	for name, text := range map[string]string{"replies": "250-mx.example\r\n", "a line": "250-mx.example "} {
		d := newWorld(t).open(t, dialogue(t, func(_ string, w io.Writer) error { return flood(w, text) }))
		if most := growth(func() {
			_, err := d.send(t, outbound("msg_1"))
			class(t, err, channels.ClassRetry)
		}); most > bound {
			t.Errorf("endless %s take %d MiB", name, most>>20)
		}
	}
	for at, text := range map[string]string{"UID SEARCH": " 1000000001", "EXAMINE": "x", "UID FETCH": "* 1 FETCH (UID 1 RFC822.SIZE 1)\r\n"} {
		f := folder{sizes: []int64{300}}
		d := newScript(t, func(command string, w io.Writer) (string, error) {
			switch {
			case !strings.HasPrefix(command, at):
				return f.answer(command, w)
			case at == "UID SEARCH":
				fmt.Fprint(w, "* SEARCH")
			case at == "EXAMINE":
				fmt.Fprint(w, "* OK ")
			}
			return "", flood(w, text)
		}).open(t)
		if most := growth(func() {
			_, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), channels.Cursor{})
			class(t, err, channels.ClassRetry)
		}); most > 4*bound {
			t.Errorf("an endless answer to %s takes %d MiB", at, most>>20)
		}
	}
}
