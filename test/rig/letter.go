package rig

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Letter is a mail in a mailbox.
type Letter struct {
	Raw    []byte
	Header textproto.MIMEHeader // what can be read of it
	Flags  string               // as Maildir writes them: S seen, R answered, F flagged, T deleted, D draft

	file string
}

// ID is the Message-ID.
func (l Letter) ID() string { return l.Header.Get("Message-Id") }

// Letters are the mails of a folder in the order in which they came. They are read from the disk: it works while the
// servers are stopped, and changes nothing.
func (m *Mail) Letters(t testing.TB, user, folder string) []Letter {
	t.Helper()
	for range 100 {
		letters, err := m.look(user, folder)
		if err == nil {
			slices.SortFunc(letters, func(a, b Letter) int { return cmp.Or(cmp.Compare(a.came(), b.came()), cmp.Compare(a.file, b.file)) })
			return letters
		}
		if !errors.Is(err, fs.ErrNotExist) { // else the server gave a file another name meanwhile
			t.Fatal(err)
		}
	}
	t.Fatalf("the folder %s of %s does not come to rest", folder, user)
	return nil
}

func (m *Mail) look(user, folder string) ([]Letter, error) {
	box := filepath.Join(m.Dir, "mail", user, "Maildir")
	if folder != "INBOX" {
		box = filepath.Join(box, "."+folder)
	}
	var letters []Letter
	for _, part := range []string{"new", "cur"} {
		files, _ := filepath.Glob(filepath.Join(box, part, "*")) // a constant pattern
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			header, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(raw))).ReadMIMEHeader()
			_, flags, _ := strings.Cut(filepath.Base(file), ":2,")
			letters = append(letters, Letter{raw, header, flags, file})
		}
	}
	return letters, nil
}

// came is when the mail came, in microseconds, as the file's name tells: 1700000000.M123456P….
func (l Letter) came() int64 {
	seconds, rest, _ := strings.Cut(filepath.Base(l.file), ".")
	micros, _, _ := strings.Cut(strings.TrimPrefix(rest, "M"), "P")
	s, _ := strconv.ParseInt(seconds, 10, 64) // else 0: sorted first
	u, _ := strconv.ParseInt(micros, 10, 64)
	return s*1_000_000 + u
}

// Arrives waits until a mail that this is true of is in the INBOX, and returns it.
func (m *Mail) Arrives(t testing.TB, user, what string, is func(Letter) bool) Letter {
	t.Helper()
	var found Letter
	Eventually(t, 10*time.Second, what+" for "+user, func() bool {
		letters := m.Letters(t, user, "INBOX")
		at := slices.IndexFunc(letters, is)
		if at >= 0 {
			found = letters[at]
		}
		return at >= 0
	})
	return found
}

// ArrivesID waits for the mail with a Message-ID.
func (m *Mail) ArrivesID(t testing.TB, user, id string) Letter {
	t.Helper()
	return m.Arrives(t, user, "the mail "+id, func(l Letter) bool { return l.ID() == id })
}

// Open logs a user in over IMAP, until the test ends.
func (m *Mail) Open(t testing.TB, user string, options imapclient.Options) *imapclient.Client {
	t.Helper()
	options.TLSConfig = m.TLS()
	c, err := imapclient.DialTLS(m.IMAPS, &options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Login(user, MailPassword).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// UIDValidity of a folder.
func (m *Mail) UIDValidity(t testing.TB, user, folder string) uint32 {
	t.Helper()
	c := m.Open(t, user, imapclient.Options{})
	defer c.Close()
	s, err := c.Select(folder, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	return s.UIDValidity
}

// Append puts a mail into a folder as a mail program does, and makes the folder if there is none.
func (m *Mail) Append(t testing.TB, user, folder string, raw []byte, flags ...imap.Flag) {
	t.Helper()
	c := m.Open(t, user, imapclient.Options{})
	defer c.Close()
	_ = c.Create(folder, nil).Wait() // most are there
	a := c.Append(folder, int64(len(raw)), &imap.AppendOptions{Flags: flags})
	_, err := a.Write(raw)
	if err := errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Wait(); err != nil {
		t.Fatal(err)
	}
}

// Flag adds flags to the mail with a Message-ID.
func (m *Mail) Flag(t testing.TB, user, folder, id string, flags ...imap.Flag) {
	t.Helper()
	c, uids := m.find(t, user, folder, id)
	defer c.Close()
	if err := c.Store(uids, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: flags}, nil).Close(); err != nil {
		t.Fatal(err)
	}
}

// Delete removes the mail with a Message-ID.
func (m *Mail) Delete(t testing.TB, user, folder, id string) {
	t.Helper()
	m.Flag(t, user, folder, id, imap.FlagDeleted)
	c, uids := m.find(t, user, folder, id)
	defer c.Close()
	if err := c.UIDExpunge(uids).Close(); err != nil {
		t.Fatal(err)
	}
}

// Move moves the mail with a Message-ID to another folder, and makes the folder if there is none.
func (m *Mail) Move(t testing.TB, user, folder, id, to string) {
	t.Helper()
	c, uids := m.find(t, user, folder, id)
	defer c.Close()
	_ = c.Create(to, nil).Wait() // most are there
	if _, err := c.Move(uids, to).Wait(); err != nil {
		t.Fatal(err)
	}
}

// find opens a folder and tells which mails of it have a Message-ID: at least one.
func (m *Mail) find(t testing.TB, user, folder, id string) (*imapclient.Client, imap.UIDSet) {
	t.Helper()
	c := m.Open(t, user, imapclient.Options{})
	if _, err := c.Select(folder, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: id}}}, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	uids := found.AllUIDs()
	if len(uids) == 0 {
		t.Fatalf("no mail %s in %s of %s", id, folder, user)
	}
	return c, imap.UIDSetNum(uids...)
}
