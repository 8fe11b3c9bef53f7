package gate

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/icholy/digest"

	"tributary/channels/voice"
)

const (
	// nonceLife is how long an answer to a challenge is good.
	nonceLife = 60 * time.Second
	// counts bounds how many (nonce, nc) pairs are remembered in one life of a nonce.
	counts = 100_000
	// strikes wrong answers within strikeSpan close an account to that address for lockout.
	strikes    = 10
	strikeSpan = 5 * time.Minute
	lockout    = 15 * time.Minute
	// lockouts bounds how many (user, address) pairs are watched.
	lockouts = 50_000
)

// auth is digest authentication (RFC 3261 section 22, RFC 8760) that keeps no nonce: a nonce is its time and a keyed digest
// of it with the asker's address and the realm.
type auth struct {
	key []byte
	now func() time.Time

	mu      sync.Mutex
	turned  time.Time
	seen    [2]map[count]struct{} // this span's and the one before
	strikes map[culprit]*strike
}

type count struct {
	nonce string
	nc    int
}

type culprit struct {
	user string
	ip   netip.Addr
}

type strike struct {
	wrong  int
	since  time.Time
	locked time.Time // until when
}

func newAuth(secret []byte, now func() time.Time) *auth {
	a := &auth{key: secret, now: now, strikes: map[culprit]*strike{}, turned: now()}
	a.seen = [2]map[count]struct{}{{}, {}}
	return a
}

// nonce is eight bytes of time, eight of chance (two phones behind one address may ask in the same moment) and sixteen of
// proof.
func (a *auth) nonce(ip netip.Addr) string {
	var b [32]byte
	binary.BigEndian.PutUint64(b[:8], uint64(a.now().UnixMilli()))
	rand.Read(b[8:16])
	copy(b[16:], a.proof(b[:16], ip))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (a *auth) proof(at []byte, ip netip.Addr) []byte {
	h := hmac.New(sha256.New, a.key)
	h.Write([]byte("nonce\x00" + voice.Realm + "\x00" + ip.String() + "\x00"))
	h.Write(at)
	return h.Sum(nil)[:16]
}

// check says whether a nonce is one that we gave to that address, and whether it is still good.
func (a *auth) check(nonce string, ip netip.Addr) (known, fresh bool) {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != 32 || !hmac.Equal(b[16:], a.proof(b[:16], ip)) {
		return false, false
	}
	age := a.now().Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(b[:8]))))
	return true, age >= 0 && age < nonceLife
}

// use takes a (nonce, nc) pair; false: it was taken before, or too many are remembered to say.
func (a *auth) use(nonce string, nc int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn()
	c := count{nonce, nc}
	for _, m := range a.seen {
		if _, ok := m[c]; ok {
			return false
		}
	}
	if len(a.seen[0]) >= counts {
		return false
	}
	a.seen[0][c] = struct{}{}
	return true
}

// turn forgets what no good nonce can repeat.
func (a *auth) turn() {
	now := a.now()
	switch age := now.Sub(a.turned); {
	case age >= 2*nonceLife:
		a.seen = [2]map[count]struct{}{{}, {}}
	case age >= nonceLife:
		a.seen = [2]map[count]struct{}{{}, a.seen[0]}
	default:
		return
	}
	a.turned = now
}

// locked reports whether the account is closed to that address.
func (a *auth) locked(user string, ip netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.strikes[culprit{user, ip}]
	return s != nil && a.now().Before(s.locked)
}

// wrong counts a wrong answer; right forgets them.
func (a *auth) wrong(user string, ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, c := a.now(), culprit{user, ip}
	s := a.strikes[c]
	if s == nil || now.Sub(s.since) > strikeSpan {
		if s == nil && len(a.strikes) >= lockouts {
			a.dropStrike(now)
		}
		s = &strike{since: now}
		a.strikes[c] = s
	}
	if s.wrong++; s.wrong >= strikes {
		s.locked = now.Add(lockout)
	}
}

// dropStrike makes room: one that locks nobody, if a few looked at have one.
func (a *auth) dropStrike(now time.Time) {
	tried := 0
	for c, s := range a.strikes {
		if tried++; !now.Before(s.locked) || tried > 32 {
			delete(a.strikes, c)
			return
		}
	}
}

func (a *auth) right(user string, ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.strikes, culprit{user, ip})
}

func (a *auth) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn()
	now := a.now()
	for c, s := range a.strikes {
		if !now.Before(s.locked) && now.Sub(s.since) > strikeSpan {
			delete(a.strikes, c)
		}
	}
}

// challenge is the 401 that everybody gets who did not prove himself, whatever the reason: RFC 8760 section 2.3 wants the
// preferred algorithm first. agent is what the sender calls itself.
func (a *auth) challenge(ip netip.Addr, stale bool, agent string) *fault {
	f := &fault{code: 401, reason: "Unauthorized"}
	nonce := a.nonce(ip)
	algorithms := []string{"SHA-256", "MD5"}
	if isOld(agent) {
		algorithms = algorithms[1:]
	}
	for _, alg := range algorithms {
		v := `Digest realm="` + voice.Realm + `", nonce="` + nonce + `", qop="auth", algorithm=` + alg
		if stale {
			v += ", stale=true"
		}
		f.fields = append(f.fields, field{"WWW-Authenticate", v})
	}
	return f
}

// isOld knows phones that give up when one of several challenges names an algorithm that they do not know, where RFC 8760
// section 2.4 has them take another. They could choose MD5 anyway, so nothing is lost by offering them only that.
func isOld(agent string) bool {
	return strings.HasPrefix(agent, "baresip v0.") || strings.HasPrefix(agent, "baresip v1.") || strings.HasPrefix(agent, "baresip v2.")
}

// credentials are the answer to a challenge of ours among the values of Authorization, nil without one.
func credentials(values []string) *digest.Credentials {
	for _, v := range values {
		c, err := digest.ParseCredentials(v)
		if err == nil && c.Realm == voice.Realm && c.Username != "" && c.Nonce != "" {
			return c
		}
	}
	return nil
}

// admit is what can be said of a request's credentials without looking anybody up, on the way in: nil, they are worth it.
func (a *auth) admit(m *message, ip netip.Addr) *fault {
	c := credentials(m.all("Authorization"))
	if c == nil {
		return a.challenge(ip, false, m.get("User-Agent"))
	}
	known, fresh := a.check(c.Nonce, ip)
	switch {
	case !known:
		return a.challenge(ip, false, m.get("User-Agent"))
	case !fresh:
		return a.challenge(ip, true, m.get("User-Agent"))
	case a.locked(c.Username, ip):
		return &fault{code: 403, reason: "Forbidden"}
	}
	return nil
}

// ha1 is H(username:realm:password) for an algorithm: RFC 7616 section 3.4.2.
func ha1(algorithm, user, password string) string {
	text := []byte(user + ":" + voice.Realm + ":" + password)
	if algorithm == "MD5" {
		sum := md5.Sum(text)
		return hexString(sum[:])
	}
	sum := sha256.Sum256(text)
	return hexString(sum[:])
}

// verify compares the answer with the secret of the account, in the same time whatever it is. Without qop an answer could
// be repeated, so it is none.
func verify(c *digest.Credentials, method, secret string) bool {
	algorithm := strings.ToUpper(c.Algorithm)
	if algorithm == "" {
		algorithm = "MD5"
	}
	want, err := digest.Digest(
		&digest.Challenge{Realm: c.Realm, Nonce: c.Nonce, Algorithm: algorithm, QOP: []string{"auth"}},
		digest.Options{Method: method, URI: c.URI, Username: c.Username, A1: secret, Cnonce: c.Cnonce, Count: c.Nc})
	if err != nil {
		return false
	}
	same := subtle.ConstantTimeCompare([]byte(want.Response), []byte(strings.ToLower(c.Response))) == 1
	return same && c.QOP == "auth" && c.Nc > 0 && c.Cnonce != "" && (algorithm == "MD5" || algorithm == "SHA-256")
}
