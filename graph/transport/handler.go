// Package transport is the door of the contract: `/graphql` over POST, GET, WebSocket and Server-Sent Events.
//
// It parses, bounds and answers; what a document means is the executable schema's business and who may do what is
// desk's. Streams are handed to graph/live, which calls back into this package only through its Sink.
//
// Invariants: no error text that is not ours or the document's own leaves (presenter); a document is measured before it
// is validated and again before it runs; nothing that a client does not read is kept for it beyond one bounded queue; a
// token that was revoked loses its sockets within the re-check's interval; an operation holds at most one login.
//
// Goroutines: a WebSocket has one that reads, one that writes while there is something to write, and one for each
// operation that runs (bounded); the HTTP server's is given back after the upgrade. Run is the keeper of all sockets
// and streams: pings, re-checks of tokens, draining. Close tells every client to reconnect elsewhere and waits for all
// goroutines of this package.
package transport

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"

	"tributary/internal/page"
	"tributary/internal/viewer"
)

// Handler serves the contract.
type Handler struct {
	cfg   Config
	lim   Limits
	log   *slog.Logger
	exec  *executor.Executor
	types map[string]viewer.Scope // what an object type needs
	links links
}

// New makes the handler of an executable schema. Run keeps its sockets, Close ends them.
func New(es graphql.ExecutableSchema, cfg Config) *Handler {
	h := &Handler{cfg: cfg, lim: cfg.Limits.orDefault(), log: cfg.Logger, types: scopes(es.Schema())}
	if h.log == nil {
		h.log = slog.Default()
	}
	h.links.init(h.lim.Sockets)
	docs := lru.New[*ast.QueryDocument](h.lim.Documents)
	h.exec = executor.New(es)
	h.exec.SetQueryCache(docs)
	h.exec.SetParserTokenLimit(h.lim.Tokens)
	h.exec.SetDisableSuggestion(!cfg.Development)
	h.exec.SetErrorPresenter(h.present)
	h.exec.SetRecoverFunc(h.recovered)
	h.exec.Use(&guard{h: h, docs: docs, schema: es.Schema()})
	h.exec.AroundOperations(h.may)
	h.exec.AroundFields(aroundField)
	return h
}

// may tells the loader which types the viewer may see at all.
func (h *Handler) may(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	v := viewer.From(ctx)
	return next(page.WithMay(ctx, func(typ string) bool {
		s, guarded := h.types[typ]
		return !guarded || v != nil && v.Has(s)
	}))
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := &request{id: newID(), remote: h.remote(r)}
	ctx := context.WithValue(r.Context(), requestKey{}, req)
	r = r.WithContext(ctx)
	head := w.Header()
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store")
	head.Set("X-Request-Id", req.id)
	head.Set("Vary", "Accept, Accept-Encoding, Authorization, Origin")
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this
				panic(p)
			}
			h.logPanic(ctx, p)
			h.refuse(w, r, http.StatusInternalServerError, &problem{code: codeInternal, message: textInternal})
		}
	}()
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		if h.draining() {
			head.Set("Retry-After", "1")
			h.refuse(w, r, http.StatusServiceUnavailable, &problem{code: codeInternal, message: "this node is closing"})
			return
		}
		h.upgrade(w, r)
		return
	}
	// A single request is answered even while this node drains: its connection was there before, and the server waits
	// for it. Refusing it would show an error to a client who did nothing wrong.
	h.cors(w, r)
	switch r.Method {
	case http.MethodGet, http.MethodPost:
		h.serve(w, r)
	case http.MethodOptions:
		head.Set("Allow", allow)
		w.WriteHeader(http.StatusNoContent)
	default:
		head.Set("Allow", allow)
		h.refuse(w, r, http.StatusMethodNotAllowed, bad("use GET or POST"))
	}
}

const allow = "GET, POST, OPTIONS"

// cors lets the pages that may connect read answers, too. There are no cookies: a token is sent on purpose or not at all.
func (h *Handler) cors(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" || !h.mayConnect(origin, r) {
		return
	}
	head := w.Header()
	head.Set("Access-Control-Allow-Origin", origin)
	head.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
	if r.Method == http.MethodOptions {
		head.Set("Access-Control-Allow-Methods", allow)
		head.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Accept-Language")
		head.Set("Access-Control-Max-Age", "600")
	}
}

func (h *Handler) mayConnect(origin string, r *http.Request) bool {
	if h.cfg.Origins != nil {
		return h.cfg.Origins(origin, r)
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

func (h *Handler) remote(r *http.Request) string {
	if h.cfg.Remote != nil {
		return h.cfg.Remote(r)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (h *Handler) draining() bool {
	select {
	case <-h.cfg.Draining:
		return true
	default:
		return h.links.isClosed()
	}
}

// authenticate finds who sent a token. The problem says why there is no answer to be had with it.
func (h *Handler) authenticate(ctx context.Context, token, remote string) (*viewer.Viewer, int, *problem) {
	v, err := h.cfg.Auth(ctx, token, remote)
	switch {
	case err == nil:
		return v, 0, nil
	case h.refused(err):
		return nil, http.StatusUnauthorized, &problem{code: codeUnauthenticated, message: "the token cannot be used"}
	default:
		h.log.LogAttrs(ctx, slog.LevelError, "authenticate", slog.Any("err", err), slog.String("requestId", RequestID(ctx)))
		return nil, http.StatusInternalServerError, &problem{code: codeInternal, message: textInternal}
	}
}

func (h *Handler) refused(err error) bool { return h.cfg.Refused == nil || h.cfg.Refused(err) }

// bearer is the token of an Authorization header: Bearer, or Basic for programs that know nothing else, whose password
// (else name) is the token.
func bearer(header string) string {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(header), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case !ok:
		return scheme
	case strings.EqualFold(scheme, "Basic"):
		b, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return rest
		}
		name, password, _ := strings.Cut(string(b), ":")
		if password != "" {
			return password
		}
		return name
	default:
		return rest
	}
}

func newID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
