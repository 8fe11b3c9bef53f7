package email

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// script is an IMAP server that says what a test wants it to. A command without
// an answer of its own is answered OK.
type script struct {
	addr string
	mu   sync.Mutex
	// answer writes the untagged part of the answer to a command and returns the
	// tagged part, "" for "OK done". An error ends the connection.
	answer   func(command string, w io.Writer) (string, error)
	asked    []string
	greeting string
}

const greeting = "* OK [CAPABILITY IMAP4rev1 IDLE] ready\r\n"

func newScript(t *testing.T, answer func(command string, w io.Writer) (string, error)) *script {
	t.Helper()
	s := &script{answer: answer}
	s.addr = serve(t, func(l net.Listener) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = c.Close() })
			go s.talk(c)
		}
	})
	return s
}

func (s *script) talk(c net.Conn) {
	defer c.Close()
	w := bufio.NewWriterSize(c, 64<<10)
	_, _ = w.WriteString(first(s.greeting, greeting))
	lines := bufio.NewReader(c)
	for w.Flush() == nil {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		s.mu.Lock()
		s.asked = append(s.asked, command)
		s.mu.Unlock()
		tagged, err := s.respond(command, w)
		if err != nil {
			_ = w.Flush()
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s\r\n", tag, first(tagged, "OK done"))
	}
}

func (s *script) respond(command string, w io.Writer) (string, error) {
	tagged, err := s.answer(command, w)
	if tagged != "" || err != nil {
		return tagged, err
	}
	switch {
	case strings.HasPrefix(command, "CAPABILITY"):
		fmt.Fprint(w, "* CAPABILITY IMAP4rev1 IDLE\r\n")
	case strings.HasPrefix(command, "LOGIN"):
		return "OK [CAPABILITY IMAP4rev1 IDLE] in", nil
	}
	return "", nil
}

func (s *script) commands(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, command := range s.asked {
		if strings.HasPrefix(command, prefix) {
			n++
		}
	}
	return n
}

func (s *script) open(t *testing.T, change ...settings) *desk {
	t.Helper()
	w := &world{imapAddr: s.addr, smtpAddr: s.addr}
	return openWith(t, w.settings(change...), secret)
}

// folder is a scripted folder of mails with these sizes, under UIDs from 1 on.
type folder struct {
	sizes []int64
	// body overrides what comes of one mail.
	body func(uid int, w io.Writer) (string, error)
}

func (f folder) answer(command string, w io.Writer) (string, error) {
	words := strings.Fields(command)
	last := len(f.sizes)
	switch {
	case words[0] == "SELECT", words[0] == "EXAMINE":
		fmt.Fprintf(w, "* %d EXISTS\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 7] v\r\n* OK [UIDNEXT %d] n\r\n", last, last+1)
		return "OK [READ-ONLY] in", nil
	case strings.HasPrefix(command, "UID SEARCH"):
		fmt.Fprint(w, "* SEARCH")
		for uid := searchFrom(command); uid <= last; uid++ {
			fmt.Fprintf(w, " %d", uid)
		}
		if searchFrom(command) > last && strings.Contains(command, ":*") {
			fmt.Fprintf(w, " %d", last) // n:* has the last mail always.
		}
		fmt.Fprint(w, "\r\n")
	case strings.Contains(command, "RFC822.SIZE"):
		for i, size := range f.sizes {
			fmt.Fprintf(w, "* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE \"01-Jan-2026 08:00:00 +0000\")\r\n", i+1, i+1, size)
		}
	case strings.Contains(command, "BODY.PEEK[]"):
		uid := number(words[2])
		if f.body != nil {
			if tagged, err := f.body(uid, w); tagged != "pass" {
				return tagged, err
			}
		}
		fmt.Fprintf(w, "* %d FETCH (UID %d BODY[] {%d}\r\n", uid, uid, f.sizes[uid-1])
		writeMail(w, uid, f.sizes[uid-1])
		fmt.Fprint(w, ")\r\n")
	}
	return "", nil
}

func searchFrom(command string) int {
	_, set, _ := strings.Cut(command, "UID SEARCH UID ")
	return number(set)
}

func number(text string) (n int) {
	_, _ = fmt.Sscanf(text, "%d", &n)
	return n
}

// writeMail writes a mail of exactly so many bytes without holding it: a text,
// and a file in a large one.
func writeMail(w io.Writer, uid int, size int64) {
	head := fmt.Sprintf("From: a@example.com\r\nSubject: mail %d\r\nMessage-ID: <%d@example.com>\r\n", uid, uid)
	tail := ""
	if size < 1<<20 {
		head += "\r\n"
	} else {
		head += "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee the file.\r\n--b\r\n" +
			"Content-Type: application/zip; name=a.zip\r\nContent-Disposition: attachment; filename=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		tail = "\r\n--b--\r\n"
	}
	_, _ = io.WriteString(w, head)
	line := strings.Repeat("abcd", 19) + "\r\n"
	left := size - int64(len(head)+len(tail))
	for left > int64(len(line)) {
		_, _ = io.WriteString(w, line)
		left -= int64(len(line))
	}
	_, _ = io.WriteString(w, line[:left]+tail)
}
