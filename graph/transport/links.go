package transport

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// link is a client that stays: a socket or an event stream.
type link interface {
	// holder is whose it is; nil before that is known.
	holder() *viewer.Viewer
	// renew goes on as the same holder with other rights.
	renew(v *viewer.Viewer)
	// ping asks whether the client is there.
	ping()
	// shut tells the client why and ends the link. It does not wait.
	shut(code int, reason string)
	// cut ends the link at once.
	cut()
}

// links are all that stay, counted by token.
type links struct {
	max int

	mu     sync.Mutex
	all    map[link]struct{}
	tokens map[gid.ID]int
	closed bool
	wg     sync.WaitGroup
}

func (k *links) init(most int) {
	k.max, k.all, k.tokens = most, map[link]struct{}{}, map[gid.ID]int{}
}

func (k *links) isClosed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

// add takes a link in, and its goroutine as one to wait for; false if this node closes.
func (k *links) add(l link) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.all[l] = struct{}{}
	k.wg.Add(1)
	return true
}

// remove forgets a link whose goroutine ends.
func (k *links) remove(l link) {
	k.mu.Lock()
	delete(k.all, l)
	k.mu.Unlock()
	k.wg.Done()
}

// uncount gives back what count took; nothing for the zero token.
func (k *links) uncount(token gid.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tokens[token]--; k.tokens[token] <= 0 {
		delete(k.tokens, token)
	}
}

// count counts a link for its token; false if it has too many.
func (k *links) count(token gid.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if token.IsZero() {
		return true
	}
	if k.tokens[token] >= k.max {
		return false
	}
	k.tokens[token]++
	return true
}

func (k *links) list() []link {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]link, 0, len(k.all))
	for l := range k.all {
		out = append(out, l)
	}
	return out
}

// Run keeps sockets and streams until ctx ends or this node drains: pings, re-checks of tokens. When it drains, every
// socket is told to reconnect elsewhere.
func (h *Handler) Run(ctx context.Context) error {
	ping, check := time.NewTicker(h.lim.Ping), time.NewTicker(h.lim.Recheck)
	defer ping.Stop()
	defer check.Stop()
	away := map[login]time.Time{} // since when tokens could not be asked about
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.cfg.Draining:
			h.links.shutAll()
			return nil
		case <-ping.C:
			for _, l := range h.links.list() {
				l.ping()
			}
		case <-check.C:
			h.recheck(ctx, away)
		}
	}
}

// patience is how long a link lives on while nobody can say whether its token is still good.
const patience = 30 * time.Second

// login is one token in the hand of one actor.
type login struct{ token, actor gid.ID }

// recheck asks once for each token that holds a link.
func (h *Handler) recheck(ctx context.Context, away map[login]time.Time) {
	if h.cfg.Recheck == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, max(h.lim.Recheck, time.Second))
	defer cancel()
	type held struct {
		v     *viewer.Viewer
		links []link
	}
	byToken := map[login]*held{}
	for _, l := range h.links.list() {
		if v := l.holder(); v != nil {
			k := login{v.Token, v.Actor}
			if byToken[k] == nil {
				byToken[k] = &held{v: v}
			}
			byToken[k].links = append(byToken[k].links, l)
		}
	}
	for token := range away {
		if byToken[token] == nil {
			delete(away, token)
		}
	}
	for token, held := range byToken {
		still, err := h.cfg.Recheck(ctx, held.v)
		code, reason := 0, ""
		switch {
		case err != nil && !h.refused(err):
			if away[token].IsZero() {
				away[token] = time.Now()
				h.log.LogAttrs(ctx, slog.LevelError, "re-check a token", slog.Any("err", err))
			}
			if time.Since(away[token]) < patience {
				continue
			}
			code, reason = closeAgain, "the token cannot be checked"
		case err != nil || still == nil:
			code, reason = closeForbidden, "the token is void"
		default:
			delete(away, token)
		}
		for _, l := range held.links {
			if code != 0 {
				l.shut(code, reason)
			} else {
				l.renew(still)
			}
		}
	}
}

// shutAll takes no new links and tells those that stand to go elsewhere.
func (k *links) shutAll() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	for _, l := range k.list() {
		l.shut(closeRestart, "this node is closing; reconnect with your cursor")
	}
}

// Close refuses what comes, closes every socket with 1012 and waits for all goroutines, at most until ctx ends; who has
// not gone by then is cut.
func (h *Handler) Close(ctx context.Context) error {
	h.links.shutAll()
	done := make(chan struct{})
	go func() {
		h.links.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		for _, l := range h.links.list() {
			l.cut()
		}
		<-done
		return ctx.Err()
	}
}

// connected tells that somebody is there; what it returns tells that he is gone.
func (h *Handler) connected(v *viewer.Viewer) func() {
	if h.cfg.Connected != nil {
		if release := h.cfg.Connected(v); release != nil {
			return release
		}
	}
	return func() {}
}
