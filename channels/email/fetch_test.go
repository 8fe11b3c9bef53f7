package email

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"tributary/channels"
	"tributary/channels/channeltest"
)

func TestFetchStartsWithWhatIsToCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.arrive(t, "INBOX", "old", channeltest.Start)
	d := w.open(t, settings{"from": "now"})
	first := d.fetch(t, channels.Cursor{Stream: "s"})
	if len(first.Events) != 0 || first.More || first.Next.Position == nil || first.Next.Stream != "s" {
		t.Fatalf("the first fetch gave %+v", first)
	}
	w.arrive(t, "INBOX", "new", channeltest.Start)
	if got, _ := d.all(t, first.Next); !slices.Equal(subjects(got), []string{"new"}) {
		t.Errorf("got %q", subjects(got))
	}
}

func TestFetchStartsWithWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.arrive(t, "INBOX", "old", channeltest.Start)
	d := w.open(t, settings{"from": "all"})
	got, end := d.all(t, channels.Cursor{})
	if !slices.Equal(subjects(got), []string{"old"}) {
		t.Errorf("got %q", subjects(got))
	}
	// A mail out of the spam folder has an old date and a new number.
	w.arrive(t, "INBOX", "out of junk", channeltest.Start.AddDate(-1, 0, 0))
	if got, end = d.all(t, end); !slices.Equal(subjects(got), []string{"out of junk"}) {
		t.Errorf("got %q", subjects(got))
	}
	if got, _ = d.all(t, end); len(got) != 0 {
		t.Errorf("got %q again", subjects(got))
	}
}

// TestFetchTakesNoFlagForTheCursor: people read the mailbox, too.
func TestFetchTakesNoFlagForTheCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mail := []byte("From: a@example.com\r\nSubject: read\r\n\r\nx\r\n")
	if _, err := w.user.Append("INBOX", literal{bytes.NewReader(mail)}, &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.open(t).all(t, channels.Cursor{}); len(got) != 1 {
		t.Errorf("got %d mails", len(got))
	}
}

func TestFetchAfterUIDValidityChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := channeltest.Start
	if err := w.user.Create("Support", nil); err != nil {
		t.Fatal(err)
	}
	w.arrive(t, "Support", "before us", began.AddDate(0, -1, 0))
	now, all := w.open(t, settings{"folder": "Support", "from": "now"}), w.open(t, settings{"folder": "Support"})
	_, nowEnd := now.all(t, channels.Cursor{})
	_, allEnd := all.all(t, channels.Cursor{})
	w.arrive(t, "Support", "one", began.Add(time.Hour))
	_, nowEnd = now.all(t, nowEnd)
	_, allEnd = all.all(t, allEnd)

	// The provider builds the folder anew, with one mail more.
	if err := w.user.Delete("Support"); err != nil {
		t.Fatal(err)
	}
	if err := w.user.Create("Support", nil); err != nil {
		t.Fatal(err)
	}
	w.arrive(t, "Support", "two", began.Add(2*time.Hour))
	w.arrive(t, "Support", "before us", began.AddDate(0, -1, 0))
	w.arrive(t, "Support", "one", began.Add(time.Hour))

	got, allEnd := all.all(t, allEnd)
	if !slices.Equal(subjects(got), []string{"two", "before us", "one"}) {
		t.Errorf("a channel of all mails got %q", subjects(got))
	}
	got, nowEnd = now.all(t, nowEnd)
	if !slices.Equal(subjects(got), []string{"two", "one"}) {
		t.Errorf("a channel that began later got %q", subjects(got))
	}
	w.arrive(t, "Support", "out of junk", began.AddDate(-1, 0, 0))
	for d, end := range map[*desk]channels.Cursor{now: nowEnd, all: allEnd} {
		if got, _ := d.all(t, end); !slices.Equal(subjects(got), []string{"out of junk"}) {
			t.Errorf("after it came %q", subjects(got))
		}
	}
}

// TestFetchAfterUIDValidityChangedInMid: the numbers that were listed before
// mean other mails now, and what the list does not have must come all the same.
func TestFetchAfterUIDValidityChangedInMid(t *testing.T) {
	t.Parallel()
	f, validity, lowest := folder{sizes: slices.Repeat([]int64{300}, 60)}, 7, 31
	d := newScript(t, func(command string, w io.Writer) (string, error) {
		switch {
		case strings.HasPrefix(command, "EXAMINE"):
			fmt.Fprintf(w, "* 60 EXISTS\r\n* OK [UIDVALIDITY %d] v\r\n* OK [UIDNEXT 61] n\r\n", validity)
			return "OK [READ-ONLY] in", nil
		case strings.HasPrefix(command, "UID SEARCH"):
			fmt.Fprint(w, "* SEARCH")
			for uid := max(searchFrom(command), lowest); uid <= 60; uid++ {
				fmt.Fprintf(w, " %d", uid)
			}
			fmt.Fprint(w, "\r\n")
			return "", nil
		}
		return f.answer(command, w)
	}).open(t)
	batch := d.fetch(t, channels.Cursor{})
	if len(batch.Events) != batchMails || batch.Events[0].Subject != "mail 31" {
		t.Fatalf("began with %q", subjects(batch.Events))
	}
	validity, lowest = 8, 1
	if got, _ := d.all(t, batch.Next); len(got) != 60 || got[0].Subject != "mail 1" {
		t.Errorf("of 60 mails came %d: %q", len(got), subjects(got))
	}
}

// TestFetchFromARestoredFolder: a copy of last night is put back, and new mails
// get numbers that were read before.
func TestFetchFromARestoredFolder(t *testing.T) {
	t.Parallel()
	for next, name := range map[int]string{61: "a server that keeps count", 0: "one that does not say", 31: "one that says a wrong number"} {
		last, validity := 60, 7
		f := folder{sizes: slices.Repeat([]int64{300}, 60)}
		s := newScript(t, func(command string, w io.Writer) (string, error) {
			switch {
			case strings.HasPrefix(command, "EXAMINE"):
				fmt.Fprintf(w, "* %d EXISTS\r\n* OK [UIDVALIDITY %d] v\r\n", last, validity)
				if next > 0 {
					fmt.Fprintf(w, "* OK [UIDNEXT %d] n\r\n", next)
				}
				return "OK [READ-ONLY] in", nil
			case strings.HasPrefix(command, "UID SEARCH"):
				return "", found(w, searchFrom(command), last)
			}
			return f.answer(command, w)
		})
		d := s.open(t)
		_, end := d.all(t, channels.Cursor{})
		for range 2 {
			if got, _ := d.all(t, end); len(got) != 0 {
				t.Errorf("%s: %d mails came again", name, len(got))
			}
		}
		last, next = 41, 42
		got, end := d.all(t, end)
		if len(got) != 41 {
			t.Errorf("%s: of the restored folder came %q", name, subjects(got))
		}
		last, next = 42, 43
		if got, end = d.all(t, end); !slices.Equal(subjects(got), []string{"mail 42"}) {
			t.Errorf("%s: then came %q", name, subjects(got))
		}
		last, next = 0, 43 // All are gone, and the numbers go on.
		if got, _ := d.all(t, end); len(got) != 0 {
			t.Errorf("%s: of the empty folder came %q", name, subjects(got))
		}
	}
}

// found writes the answer to a search from one number to the last; n:* has the
// last always.
func found(w io.Writer, from, last int) error {
	fmt.Fprint(w, "* SEARCH")
	for uid := min(from, max(last, 1)); uid <= last; uid++ {
		fmt.Fprintf(w, " %d", uid)
	}
	_, err := fmt.Fprint(w, "\r\n")
	return err
}

func TestFetchTakesAForeignCursorAsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.arrive(t, "INBOX", "one", channeltest.Start)
	if got, _ := w.open(t, settings{"from": "now"}).all(t, channels.Cursor{Position: []byte("{")}); len(got) != 1 {
		t.Errorf("got %d mails", len(got))
	}
}

// TestFetchTheLastMailOnce: the range n:* holds the last mail even when n is
// greater.
func TestFetchTheLastMailOnce(t *testing.T) {
	t.Parallel()
	s := newScript(t, folder{sizes: []int64{300, 300}}.answer)
	d := s.open(t)
	got, end := d.all(t, channels.Cursor{})
	if len(got) != 2 {
		t.Fatalf("got %d mails", len(got))
	}
	for range 3 {
		if again, _ := d.all(t, end); len(again) != 0 {
			t.Errorf("the last mail came again: %q", subjects(again))
		}
	}
	if n := s.commands("UID SEARCH"); n != 4 {
		t.Errorf("%d searches, want one for each fetch that found nothing in memory", n)
	}
}

func TestFetchBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 45 {
		w.arrive(t, "INBOX", fmt.Sprint("mail ", i), channeltest.Start)
	}
	d := w.open(t)
	var sizes []int
	cursor := channels.Cursor{}
	for more := true; more; {
		batch := d.fetch(t, cursor)
		sizes, cursor, more = append(sizes, len(batch.Events)), batch.Next, batch.More
	}
	if !slices.Equal(sizes, []int{20, 20, 5}) {
		t.Errorf("batches of %v", sizes)
	}
	large := newScript(t, folder{sizes: []int64{5 << 20, 5 << 20, 5 << 20}}.answer).open(t)
	if batch := large.fetch(t, channels.Cursor{}); len(batch.Events) != 2 || !batch.More {
		t.Errorf("%d mails of 5 MiB in one batch", len(batch.Events))
	}
}

// TestFetchABrokenMailBlocksNobody: its reading fails by its own fault.
func TestFetchABrokenMailBlocksNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.arrive(t, "INBOX", "one", channeltest.Start)
	w.put(t, "INBOX", []byte("\x00\xff no mail at all\r\n"), channeltest.Start)
	w.put(t, "INBOX", nil, channeltest.Start)
	w.arrive(t, "INBOX", "two", channeltest.Start)
	got, _ := w.open(t).all(t, channels.Cursor{})
	if len(got) != 4 || got[3].Subject != "two" {
		t.Errorf("got %+v", got)
	}
}
