package rig

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"tributary/internal/testdb"
)

// MailPassword is everybody's, at local.test and at example.com.
const MailPassword = "secret"

// Mail is a mail server of one test: Dovecot and Postfix, as test/mail/server.sh runs them; what they do with which
// address is written there. The addresses stay the same over Stop and Start.
type Mail struct {
	IMAP        string // plain, with STARTTLS
	IMAPS       string // TLS from the first byte
	SMTP        string // the door for the outside world: no login, mail for the two domains only
	Submission  string // STARTTLS and a login are required; to anybody
	Submissions string // the same with TLS from the first byte
	LMTP        string // straight into the mailbox
	CA          string // path of the certificate, in PEM, that all of them show
	Dir         string // what the servers write: *.log, mail/USER/Maildir

	t        testing.TB
	cmd      *exec.Cmd
	errs     *Output
	mu       sync.Mutex // one command at a time
	commands io.WriteCloser
	answers  *bufio.Reader
}

// StartMail starts a mail server and waits until it serves. It is gone when the test ends, and also when this process is
// killed. Where it cannot run, the test is skipped loudly, or fails if servers are required.
func StartMail(t testing.TB) *Mail {
	t.Helper()
	m := &Mail{t: t, errs: &Output{}}
	if err := m.launch(); err != nil {
		testdb.Missing(t, "mail server", err)
	}
	line, err := m.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, m)
	}
	if err != nil {
		m.refused(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.Log())
		}
		m.end()
	})
	return m
}

func (m *Mail) launch() error {
	_, here, _, _ := runtime.Caller(0)
	m.cmd = exec.Command(filepath.Join(filepath.Dir(here), "..", "mail", "server.sh"))
	m.cmd.Stderr = m.errs
	// A group of its own lets it clean up when the terminal interrupts the tests.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	commands, err := m.cmd.StdinPipe()
	if err != nil {
		return err
	}
	answers, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	m.commands, m.answers = commands, bufio.NewReader(answers)
	return m.cmd.Start()
}

// refused ends a test whose server did not start.
func (m *Mail) refused(reason error) {
	m.t.Helper()
	m.end()
	if m.cmd.ProcessState.ExitCode() == 3 { // it says that it cannot run on this machine
		testdb.Missing(m.t, "mail server", errors.New(strings.TrimSpace(m.errs.String())))
	}
	m.t.Fatalf("start the mail server: %v\n%s", reason, m.errs)
}

func (m *Mail) end() {
	_ = m.commands.Close()
	_ = m.cmd.Wait()
}

func (m *Mail) command(words ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := io.WriteString(m.commands, strings.Join(words, " ")+"\n"); err != nil {
		return fmt.Errorf("the mail server is gone: %w", err)
	}
	answer, err := m.answers.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the mail server is gone: %w", err)
	}
	if answer != "ok\n" {
		return fmt.Errorf("the mail server says %q", answer)
	}
	return nil
}

// Stop stops both servers; what is in mailboxes and queues stays.
func (m *Mail) Stop() error { return m.command("stop") }

// Start starts them again at the same addresses and waits until they serve.
func (m *Mail) Start() error { return m.command("start") }

// Renumber gives a folder a new UIDVALIDITY and its mails new UIDs. Sessions of that user are cut.
func (m *Mail) Renumber(user, folder string) error { return m.command("renumber", user, folder) }

// Pid of the process that holds the servers: they end with it.
func (m *Mail) Pid() int { return m.cmd.Process.Pid }

// Log is the end of what the servers logged.
func (m *Mail) Log() string {
	var out strings.Builder
	for _, name := range []string{"postfix.log", "dovecot.log"} {
		text, _ := os.ReadFile(filepath.Join(m.Dir, name))
		fmt.Fprintf(&out, "%s:\n%s\n", name, text[max(0, len(text)-8000):])
	}
	return out.String()
}

// TLS trusts the servers' certificate and nothing else.
func (m *Mail) TLS() *tls.Config {
	m.t.Helper()
	pem, err := os.ReadFile(m.CA)
	if err != nil {
		m.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		m.t.Fatalf("%s holds no certificate", m.CA)
	}
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}
