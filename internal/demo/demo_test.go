package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"image/png"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestCorpusIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, l := range tongues {
		known := l.meanings()
		for n := range l.topics {
			p := &l.topics[n]
			if len(p.open) == 0 || len(p.more) == 0 || len(p.answers) == 0 || len(p.follow) == 0 || len(p.second) == 0 {
				t.Errorf("%s, topic %d has an empty list", l.locale, n)
			}
			for stage, texts := range map[stage][]string{opened: p.open, followed: p.follow} {
				for _, s := range texts {
					if m := known[shape(about(s, 12345))]; m.topic != p || m.stage != stage {
						t.Errorf("%s: %q is taken for another line", l.locale, s)
					}
				}
			}
			if !slices.ContainsFunc(p.answers, func(s string) bool { return !strings.Contains(s, "{order}") }) {
				t.Errorf("%s, topic %d: every answer needs an order's number", l.locale, n)
			}
		}
		for _, s := range l.thanks {
			if known[shape(s)].stage != thanked {
				t.Errorf("%s: %q is not taken for thanks", l.locale, s)
			}
		}
		for name, list := range map[string][]string{
			"hello": l.hello, "thanks": l.thanks, "back": l.back, "other": l.other, "tired": l.tired, "closing": l.closing,
			"unsure": l.unsure, "first": l.first, "last": l.last, "clerks": l.clerks,
		} {
			if len(list) == 0 {
				t.Errorf("%s has no %s", l.locale, name)
			}
		}
		if len(l.clerks)*len(tongues) < MaxAgents {
			t.Errorf("%s: two of %d agents have one name", l.locale, MaxAgents)
		}
	}
}

func TestEachSideSpeaksItsLanguage(t *testing.T) {
	t.Parallel()
	for _, l := range tongues {
		for _, p := range l.topics {
			for _, s := range slices.Concat(p.open, p.more, p.answers, p.follow, p.second) {
				if han := strings.ContainsFunc(s, func(c rune) bool { return unicode.Is(unicode.Han, c) }); han != (l == chinese) {
					t.Errorf("%s: %q", l.locale, s)
				}
			}
		}
	}
}

func TestWhoSomebodyIsFollowsFromTheSeed(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	sides := map[*tongue]int{}
	for n := range 100 {
		p, again := newPerson(7, n), newPerson(7, n)
		if *p != *again {
			t.Fatalf("person %d is %+v and %+v", n, p, again)
		}
		names[p.name] = true
		sides[p.tongue]++
	}
	if len(names) < 50 || sides[english] < 25 || sides[chinese] < 25 {
		t.Errorf("%d names, %d English and %d Chinese of 100", len(names), sides[english], sides[chinese])
	}
	if newPerson(7, 1).customerID() == newPerson(8, 1).customerID() {
		t.Error("two seeds share a customer")
	}
}

func TestPopulationIsBounded(t *testing.T) {
	t.Parallel()
	c := newCrowd(Config{Arrivals: 600, Pace: 100}, &shop{book: &ledger{Seed: 7, Starts: 1}}, &tally{})
	for range 10_000 {
		if v, ok := c.admit(c.somebody()); ok && c.random.IntN(2) == 0 {
			c.gone(v)
		}
	}
	if len(c.people) != maxPeople || c.present != maxPresent || len(c.later) > maxPresent {
		t.Errorf("%d people, %d present, %d to come back", len(c.people), c.present, len(c.later))
	}
}

func TestOrderNumberIsFound(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]int{
		"Hi, where is my order 45678? It should have been here on Monday.": 45678,
		"你好，我的订单 12345 怎么还没到？":                                             12345,
		"I'm 1.78 m, if that helps.":                                       0,
		"call 004912345678":                                                0,
	} {
		if got := number([]string{said}); got != want {
			t.Errorf("%q: %d, want %d", said, got, want)
		}
	}
}

func TestPicturesAreSmallAndDiffer(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	seen := map[string]bool{}
	for range 20 {
		b, err := picture(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(bytes.NewReader(b)); err != nil || len(b) > 16<<10 {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		seen[string(b)] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d of 20 are different", len(seen))
	}
}

func TestLedgerIsFoundAgain(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "new")
	first, err := openLedger(folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	password, err := first.password("a@example.com")
	if err != nil {
		t.Fatal(err)
	}
	second, err := openLedger(folder, 0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := second.password("a@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if first.Seed == 0 || second.Seed != first.Seed || second.Nonce != first.Nonce || second.Starts != 2 || again != password {
		t.Errorf("%+v, then %+v", first, second)
	}
	if third, err := openLedger(folder, 9); err != nil || third.Seed != 9 {
		t.Errorf("%+v, %v", third, err)
	}
	info, err := os.Stat(filepath.Join(folder, LedgerName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("passwords lie in a file that others read: %v, %v", info.Mode(), err)
	}
}

// TestSignature holds the protocol's example, made with openssl:
// printf '1700000000.{}' | openssl dgst -sha256 -hmac secret.
func TestSignature(t *testing.T) {
	t.Parallel()
	const want = "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
	if got := signature("secret", 1_700_000_000, []byte("{}")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	body := []byte(`{"id":"x"}`)
	now := signature("s", time.Now().Unix(), body)
	old := signature("s", time.Now().Add(-301*time.Second).Unix(), body)
	if !verified("s", now, body) || verified("t", now, body) || verified("s", old, body) || verified("s", now, []byte("{}")) || verified("s", "", body) {
		t.Error("signatures are judged wrongly")
	}
}

// TestBridgeTakesAMessageOnce: a repeat is answered 409, and its reader has it once.
func TestBridgeTakesAMessageOnce(t *testing.T) {
	t.Parallel()
	receipts := make(chan vars, 16)
	desk := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e vars
		if raw, err := io.ReadAll(r.Body); err == nil && verified("s", r.Header.Get("Tributary-Signature"), raw) && json.Unmarshal(raw, &e) == nil {
			receipts <- e
		}
	}))
	defer desk.Close()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBridge(lis, slog.New(slog.DiscardHandler))
	h := b.join(english, desk.URL, "s")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.serve(ctx) }()
	words, unread := h.read("u-1")
	defer unread()
	send := func(secret, body string) int {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.callback(english), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Tributary-Signature", signature(secret, time.Now().Unix(), []byte(body)))
		res, err := desk.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	message := `{"id":"msg_1","thread":"u-1","parts":[{"type":"text","text":"hello"}]}`
	if got := []int{send("s", message), send("s", message), send("forged", message)}; !slices.Equal(got, []int{200, 409, 401}) {
		t.Errorf("answers %v", got)
	}
	if got := <-words; got != "hello" || len(words) != 0 {
		t.Errorf("the reader has %q and %d more", got, len(words))
	}
	for _, want := range []string{"delivered", "read"} {
		for e := range receipts { // some come twice, with one id
			if e["state"] == want && e["message"] == "msg_1" && e["id"] == "rcp-"+want+"-msg_1" {
				break
			}
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
