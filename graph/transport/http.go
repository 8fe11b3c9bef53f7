package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"tributary/internal/viewer"
)

// serve answers GET and POST: one operation, or a stream for those who accept it.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	media := accepted(r)
	if media == "" {
		h.refuse(w, r, http.StatusNotAcceptable, bad("answers are "+mediaResponse+", "+mediaJSON+" or "+mediaEvents))
		return
	}
	req := requestOf(r.Context())
	req.get = r.Method == http.MethodGet
	params, status, p := h.params(w, r)
	if p != nil {
		h.refuse(w, r, status, p)
		return
	}
	v, status, p := h.authenticate(r.Context(), bearer(r.Header.Get("Authorization")), req.remote)
	if p != nil {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="graphql"`)
		}
		h.refuse(w, r, status, p)
		return
	}
	ctx := graphql.StartOperationTrace(r.Context())
	if v != nil {
		ctx = viewer.With(ctx, v)
	}
	oc, errs := h.exec.CreateOperationContext(ctx, params)
	if errs != nil {
		h.answerErrors(ctx, w, r, media, oc, errs)
		return
	}
	switch kind := oc.Operation.Operation; {
	case req.get && kind == ast.Mutation:
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(w, r, http.StatusMethodNotAllowed, bad("GET is for queries"))
	case media == mediaEvents:
		h.stream(ctx, w, r, oc)
	case kind == ast.Subscription:
		p := bad("subscriptions need a WebSocket or Accept: " + mediaEvents)
		h.answerErrors(ctx, w, r, media, oc, gqlerror.List{p.gql()})
	default:
		resp := h.execute(ctx, oc)
		write(w, r, http.StatusOK, media, encode(requestOf(ctx), resp))
	}
}

// execute runs a query or mutation to its end or deadline.
func (h *Handler) execute(ctx context.Context, oc *graphql.OperationContext) *graphql.Response {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, h.lim.Operation)
	defer cancel()
	next, ctx := h.exec.DispatchOperation(graphql.WithOperationContext(ctx, oc), oc)
	resp := next(ctx)
	if resp == nil {
		p := &problem{code: codeInternal, message: textInternal}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			p = tooLarge("the operation took too long")
		}
		resp = &graphql.Response{Errors: gqlerror.List{p.body(RequestID(ctx), nil, nil)}}
	}
	h.measured(oc, resp.Errors, start)
	return resp
}

func (h *Handler) measured(oc *graphql.OperationContext, errs gqlerror.List, start time.Time) {
	if h.cfg.Metrics.Operation == nil {
		return
	}
	kind := "unknown"
	if oc != nil && oc.Operation != nil {
		kind = string(oc.Operation.Operation)
	}
	h.cfg.Metrics.Operation(kind, firstCode(errs), time.Since(start))
}

func firstCode(errs gqlerror.List) string {
	for _, e := range errs {
		if c, ok := e.Extensions["code"].(string); ok {
			return c
		}
	}
	return ""
}

// answerErrors answers a request whose operation could not begin: no data, and a status as the accepted form wants it.
func (h *Handler) answerErrors(ctx context.Context, w http.ResponseWriter, r *http.Request, media string, oc *graphql.OperationContext, errs gqlerror.List) {
	resp := h.exec.DispatchError(graphql.WithOperationContext(ctx, oc), errs)
	resp.Data = nil
	h.measured(oc, resp.Errors, time.Now())
	status := http.StatusBadRequest
	if media == mediaJSON {
		status = http.StatusOK
	}
	if media == mediaEvents {
		media = mediaJSON
	}
	if firstCode(resp.Errors) == codeRateLimited {
		status = http.StatusTooManyRequests
		if n, ok := resp.Errors[0].Extensions["retryAfterSeconds"].(int); ok {
			w.Header().Set("Retry-After", strconv.Itoa(n))
		}
	}
	write(w, r, status, media, encode(requestOf(ctx), resp))
}

// refuse answers a request that is none of ours, in the client's form as far as it has one.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, status int, p *problem) {
	media := accepted(r)
	if media != mediaResponse {
		media = mediaJSON
	}
	req := requestOf(r.Context())
	write(w, r, status, media, encode(req, &graphql.Response{Errors: gqlerror.List{p.body(req.id, nil, nil)}}))
}

// encode is a response on the wire. gqlgen's own form has a data entry even where the operation never ran.
func encode(req *request, r *graphql.Response) []byte {
	out := struct {
		Errors     gqlerror.List    `json:"errors,omitempty"`
		Data       *json.RawMessage `json:"data,omitempty"`
		Extensions map[string]any   `json:"extensions,omitempty"`
	}{Errors: r.Errors, Extensions: r.Extensions}
	if len(r.Data) > 0 {
		out.Data = &r.Data
	}
	if req.charged {
		ext := map[string]any{"cost": map[string]int{"points": req.points, "remaining": req.remaining}}
		for k, v := range r.Extensions {
			ext[k] = v
		}
		out.Extensions = ext
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(out) != nil {
		return []byte(`{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL"}}]}`)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// params reads what is asked, bounded, with fixed texts for what is wrong: nothing of a body is ever sent back.
func (h *Handler) params(w http.ResponseWriter, r *http.Request) (*graphql.RawParams, int, *problem) {
	start := graphql.Now()
	var (
		p      *graphql.RawParams
		status = http.StatusBadRequest
		why    *problem
	)
	if r.Method == http.MethodGet {
		if int64(len(r.URL.RawQuery)) > h.lim.Body {
			return nil, http.StatusRequestURITooLong, tooLarge("the address is longer than %d bytes", h.lim.Body)
		}
		p, why = fromQuery(r.URL.RawQuery)
	} else {
		p, status, why = h.fromBody(w, r)
	}
	if why != nil {
		return nil, status, why
	}
	p.Headers = r.Header
	p.ReadTime = graphql.TraceTiming{Start: start, End: graphql.Now()}
	return p, 0, nil
}

func (h *Handler) fromBody(w http.ResponseWriter, r *http.Request) (*graphql.RawParams, int, *problem) {
	if !isJSON(r) || r.Header.Get("Content-Encoding") != "" {
		return nil, http.StatusUnsupportedMediaType, bad("send application/json in UTF-8")
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.lim.Body))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return nil, http.StatusRequestEntityTooLarge, tooLarge("a request has at most %d bytes", h.lim.Body)
	case err != nil:
		return nil, http.StatusBadRequest, bad("the body could not be read")
	}
	p, why := fromJSON(b)
	return p, http.StatusBadRequest, why
}

func fromQuery(raw string) (*graphql.RawParams, *problem) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, bad("the address cannot be read")
	}
	if !q.Has("query") {
		return nil, bad("query is missing")
	}
	p := &graphql.RawParams{Query: q.Get("query"), OperationName: q.Get("operationName")}
	var why *problem
	if p.Variables, why = object([]byte(q.Get("variables")), "variables"); why != nil {
		return nil, why
	}
	if p.Extensions, why = object([]byte(q.Get("extensions")), "extensions"); why != nil {
		return nil, why
	}
	if !utf8.ValidString(p.Query) {
		return nil, bad("query is not UTF-8")
	}
	return p, nil
}

// fromJSON reads the four members of a request. Their forms are checked one by one, so that a wrong one is a malformed
// request and not an operation that failed.
func fromJSON(b []byte) (*graphql.RawParams, *problem) {
	var m struct {
		Query         json.RawMessage `json:"query"`
		OperationName json.RawMessage `json:"operationName"`
		Variables     json.RawMessage `json:"variables"`
		Extensions    json.RawMessage `json:"extensions"`
	}
	if !utf8.Valid(b) {
		return nil, bad("the body is not UTF-8")
	}
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) > 0 && t[0] == '[' {
		return nil, bad("one operation a request")
	}
	if json.Unmarshal(b, &m) != nil || !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) {
		return nil, bad("the body is not a JSON object")
	}
	p := &graphql.RawParams{}
	if absent(m.Query) {
		return nil, bad("query is missing")
	}
	if json.Unmarshal(m.Query, &p.Query) != nil {
		return nil, bad("query is not a text")
	}
	if !absent(m.OperationName) && json.Unmarshal(m.OperationName, &p.OperationName) != nil {
		return nil, bad("operationName is not a text")
	}
	var why *problem
	if p.Variables, why = object(m.Variables, "variables"); why != nil {
		return nil, why
	}
	if p.Extensions, why = object(m.Extensions, "extensions"); why != nil {
		return nil, why
	}
	return p, nil
}

func absent(b json.RawMessage) bool { return len(b) == 0 || bytes.Equal(b, []byte("null")) }

func object(b []byte, name string) (map[string]any, *problem) {
	if absent(b) {
		return nil, nil //nolint:nilnil // neither given nor wrong
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&m) != nil {
		return nil, bad(name + " is not an object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad(name + " is not an object")
	}
	return m, nil
}
