package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

// line is one way in which a person writes to the shop, for one visit.
type line interface {
	say(ctx context.Context, text string) error
	show(ctx context.Context, text string, picture []byte) error
	heard() <-chan string
	read(ctx context.Context) error
	// leave ends the visit; over: the person wants nothing more. A second time it does nothing.
	leave(ctx context.Context, over bool) error
}

// chat is a line through a web chat.
type chat struct {
	c       *client
	keys    keys
	words   chan string
	highest atomic.Int64 // number of the newest line that was heard
	close   context.CancelFunc
	closed  chan struct{}
}

// keys makes idempotency keys and event ids that no other visit makes.
type keys struct {
	prefix string
	n      int
}

func (k *keys) next() string { k.n++; return fmt.Sprintf("%s/%d", k.prefix, k.n) }

const visitorStream = `subscription($after: EventCursor) { frame: visitorEvents(after: $after) { cursor resetReason events { type message { number mine text } } } }`

// startChat begins a visit on a site, as somebody who came before if the browser kept its secret, or as somebody whom the
// shop's own back end vouches for. It gives the browser's secret.
func startChat(ctx context.Context, door *client, s site, p *person, k keys) (*chat, string, error) {
	in := vars{"siteKey": s.key, "locale": p.tongue.locale, "client": "demo"}
	if p.known {
		token, err := identity(s, p, time.Now())
		if err != nil {
			return nil, "", err
		}
		in["identityToken"] = token
	} else if p.browser != "" {
		in["visitorToken"] = p.browser
	}
	var out struct {
		Made struct{ Token, VisitorToken, EventCursor string }
	}
	err := door.ask(ctx, `mutation($i: VisitorSessionInput!) { made: visitorSessionStart(input: $i) { token visitorToken eventCursor userErrors { code message retryable } } }`, vars{"i": in}, &out)
	if err != nil {
		return nil, "", err
	}
	ctx, stop := context.WithCancel(ctx)
	v := &chat{c: door.with(out.Made.Token), keys: k, words: make(chan string, 16), close: stop, closed: make(chan struct{})}
	go func() {
		defer close(v.closed)
		v.listen(ctx, out.Made.EventCursor)
	}()
	return v, out.Made.VisitorToken, nil
}

type visitorEvent struct {
	Type    string
	Message *struct {
		Number int64
		Mine   bool
		Text   string
	}
}

func (v *chat) listen(ctx context.Context, cursor string) {
	_ = follow(ctx, v.c, visitorStream, cursor, func(e visitorEvent) { // a reset needs days, a visit has minutes
		if e.Type != "MESSAGE_CREATED" || e.Message == nil || e.Message.Mine {
			return
		}
		v.highest.Store(max(v.highest.Load(), e.Message.Number))
		select {
		case v.words <- e.Message.Text:
		default: // he does not look at the screen
		}
	})
}

func (v *chat) heard() <-chan string { return v.words }

func (v *chat) say(ctx context.Context, text string) error { return v.send(ctx, vars{"text": text}) }

func (v *chat) send(ctx context.Context, in vars) error {
	return v.c.do(ctx, `mutation($i: VisitorMessageInput!, $k: Key!) { made: visitorMessageSend(input: $i, idempotencyKey: $k) { userErrors { code message retryable } } }`,
		vars{"i": in, "k": v.keys.next()}, nil)
}

func (v *chat) show(ctx context.Context, text string, picture []byte) error {
	sum := sha256.Sum256(picture)
	var out struct {
		Made struct {
			Target struct {
				AttachmentID string
				target
			}
		}
	}
	err := v.c.do(ctx, `mutation($i: UploadInput!, $k: Key!) { made: visitorUploadCreate(input: $i, idempotencyKey: $k) {
		target { attachmentId method url headers { key value } } userErrors { code message retryable } } }`,
		vars{"i": vars{"name": "photo.png", "contentType": "image/png", "bytes": len(picture), "sha256": hex.EncodeToString(sum[:])}, "k": v.keys.next()}, &out)
	if err != nil {
		return err
	}
	if err := v.c.put(ctx, out.Made.Target.target, picture); err != nil {
		return err
	}
	return v.send(ctx, vars{"text": text, "attachmentIds": []string{out.Made.Target.AttachmentID}})
}

func (v *chat) read(ctx context.Context) error {
	return v.c.do(ctx, `mutation($n: Int!, $k: Key!) { made: visitorMarkRead(upToNumber: $n, idempotencyKey: $k) { userErrors { code message retryable } } }`,
		vars{"n": v.highest.Load(), "k": v.keys.next()}, nil)
}

func (v *chat) leave(ctx context.Context, over bool) error {
	defer func() { <-v.closed }()
	defer v.close()
	if !over {
		return nil
	}
	return v.c.do(ctx, `mutation($k: Key!) { made: visitorConversationEnd(idempotencyKey: $k) { userErrors { code message retryable } } }`, vars{"k": v.keys.next()}, nil)
}

// identity is the token by which the shop's back end vouches for a customer: a JWT with his id of the shop's own system.
func identity(s site, p *person, now time.Time) (string, error) {
	claims, err := json.Marshal(vars{"sub": p.customerID(), "aud": s.key, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "name": p.name})
	if err != nil {
		return "", fmt.Errorf("sign identity: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	mac := hmac.New(sha256.New, []byte(s.secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
}

// letter is a line through the bridge.
type letter struct {
	h      *hook
	p      *person
	keys   keys
	words  <-chan string
	unread func()
}

func startLetter(h *hook, p *person, k keys) *letter {
	words, unread := h.read(p.thread())
	return &letter{h: h, p: p, keys: k, words: words, unread: unread}
}

func (l *letter) heard() <-chan string { return l.words }

func (l *letter) say(ctx context.Context, text string) error {
	return l.post(ctx, []vars{{"type": "text", "text": text}})
}

func (l *letter) show(ctx context.Context, text string, picture []byte) error {
	return l.post(ctx, []vars{{"type": "text", "text": text}, {"type": "image", "url": l.h.b.lay(picture), "name": "photo.png", "contentType": "image/png", "bytes": len(picture)}})
}

func (l *letter) post(ctx context.Context, parts []vars) error {
	from := vars{"id": l.p.thread(), "name": l.p.name}
	if l.p.known {
		from["customerId"] = l.p.customerID()
	}
	return l.h.deliver(ctx, vars{
		"id": l.keys.next(), "kind": "message", "at": time.Now().UTC().Format(time.RFC3339), "thread": l.p.thread(), "from": from, "parts": parts,
	})
}

// read has nothing to do: the bridge's receipts tell it.
func (l *letter) read(context.Context) error { return nil }

func (l *letter) leave(context.Context, bool) error {
	l.unread()
	return nil
}
