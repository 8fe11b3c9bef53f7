package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"tributary/desk"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// The codes of top-level errors.
const (
	codeUnauthenticated = "UNAUTHENTICATED"
	codeForbidden       = "FORBIDDEN"
	codeRateLimited     = "RATE_LIMITED"
	codeTooLarge        = "QUERY_TOO_LARGE"
	codeBadRequest      = "BAD_REQUEST"
	codeInternal        = "INTERNAL"
)

const textInternal = "internal error"

// problem is an error that may leave as it is.
type problem struct {
	code, message string
	retry         time.Duration
	extra         map[string]any
}

// Error is the code and the message.
func (p *problem) Error() string { return p.code + ": " + p.message }

func bad(message string) *problem { return &problem{code: codeBadRequest, message: message} }

func tooLarge(format string, args ...any) *problem {
	return &problem{code: codeTooLarge, message: fmt.Sprintf(format, args...)}
}

// gql makes an error that the presenter takes as it is.
func (p *problem) gql() *gqlerror.Error { return &gqlerror.Error{Err: p, Message: p.message} }

// body is the error as an answer shows it.
func (p *problem) body(requestID string, path ast.Path, at []gqlerror.Location) *gqlerror.Error {
	ext := map[string]any{"code": p.code, "requestId": requestID}
	for k, v := range p.extra {
		ext[k] = v
	}
	if p.retry > 0 {
		ext["retryAfterSeconds"] = seconds(p.retry)
	}
	return &gqlerror.Error{Message: p.message, Path: path, Locations: at, Extensions: ext}
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// present makes of any error what a client may see of it. Only what is coded by us passes; the rest is INTERNAL, and
// logged here, once.
func (h *Handler) present(ctx context.Context, err error) *gqlerror.Error {
	var g *gqlerror.Error
	path, at := graphql.GetPath(ctx), []gqlerror.Location(nil)
	if errors.As(err, &g) {
		if g.Path != nil {
			path = g.Path
		}
		at = g.Locations
	}
	p := h.classify(ctx, err, g)
	if p.code == codeInternal && !errors.Is(err, context.Canceled) {
		attrs := []slog.Attr{
			slog.String("requestId", RequestID(ctx)), slog.String("path", path.String()), slog.Any("err", cause(err)),
		}
		var pe *panicError
		if errors.As(err, &pe) {
			attrs = append(attrs, slog.String("stack", string(pe.stack)))
		}
		h.log.LogAttrs(ctx, slog.LevelError, "operation failed", attrs...)
	}
	return p.body(RequestID(ctx), path, at)
}

// cause is the error below gqlgen's wrapping, whose text repeats the path.
func cause(err error) error {
	var f *fieldError
	if errors.As(err, &f) {
		return f.err
	}
	return err
}

func (h *Handler) classify(ctx context.Context, err error, g *gqlerror.Error) *problem {
	var (
		own       *problem
		forbidden *desk.Forbidden
		refusal   *desk.Refusal
		panicked  *panicError
		field     *fieldError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &panicked):
		return &problem{code: codeInternal, message: textInternal}
	case errors.As(err, &forbidden):
		return &problem{code: codeForbidden, message: forbidden.Error()}
	case errors.Is(err, viewer.ErrNone):
		return &problem{code: codeUnauthenticated, message: "a token is needed"}
	case errors.As(err, &refusal):
		extra := map[string]any{"reason": string(refusal.Code), "retryable": refusal.Retryable}
		if len(refusal.Field) > 0 {
			extra["field"] = refusal.Field
		}
		return &problem{code: codeBadRequest, message: refusal.Message, extra: extra}
	case errors.Is(err, page.ErrArgs), errors.Is(err, page.ErrEventCursor), errors.Is(err, gid.ErrFormat):
		return bad(innermost(err))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded):
		return tooLarge("the operation took too long")
	case errors.Is(err, graphql.ErrInvalidNull), errors.As(err, &field):
		return &problem{code: codeInternal, message: textInternal}
	case g == nil:
		return &problem{code: codeInternal, message: textInternal}
	}
	return h.documentProblem(ctx, g)
}

func innermost(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// documentProblem tells what is wrong with a document. Who may not read the schema is told no word of it.
func (h *Handler) documentProblem(ctx context.Context, g *gqlerror.Error) *problem {
	code, _ := g.Extensions["code"].(string)
	if code == errcode.ParseFailed && strings.HasPrefix(g.Message, "exceeded token limit") {
		return tooLarge("the document has more than %d tokens", h.lim.Tokens)
	}
	text := "an argument has a wrong form"
	switch {
	case code == errcode.ParseFailed:
		text = "the document is not GraphQL"
	case code == errcode.ValidationFailed && g.Rule != "":
		text = "the document is not valid: " + strings.TrimSuffix(g.Rule, "WithoutSuggestions")
	case code == errcode.ValidationFailed && len(g.Path) > 0:
		text = "a variable has a wrong form"
	case code == errcode.ValidationFailed:
		text = "there is no such operation in the document"
	}
	if code != "" && h.mayRead(viewer.From(ctx)) {
		told := g.Message
		if !h.cfg.Development {
			told, _, _ = strings.Cut(told, " Did you mean")
		}
		text += ": " + told
	}
	return bad(text)
}

// mayRead says whether the schema is open to a viewer.
func (h *Handler) mayRead(v *viewer.Viewer) bool {
	return h.cfg.Development || v != nil && v.Kind != viewer.KindCustomer
}

// panicError is a panic on its way to the presenter.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func (h *Handler) recovered(_ context.Context, v any) error {
	if h.cfg.Metrics.Panic != nil {
		h.cfg.Metrics.Panic()
	}
	return &panicError{v, debug.Stack()}
}

func (h *Handler) logPanic(ctx context.Context, v any) {
	err := h.recovered(ctx, v)
	h.log.LogAttrs(ctx, slog.LevelError, "request panicked", slog.String("requestId", RequestID(ctx)),
		slog.Any("err", err), slog.String("stack", string(debug.Stack())))
}
