package graph

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"tributary/channels"
	"tributary/desk"
	"tributary/internal/blob"
	"tributary/internal/gid"
)

const (
	maxHook      = 1 << 20 // bytes of a provider's request (MODEL 10)
	hookDeadline = 10 * time.Second
)

// Hooks takes providers' requests: `/hooks/{kind}/{channel}/{secret}`. The provider gets its 200 only after the commit;
// whatever fails before makes it repeat.
func Hooks(d *desk.Desk, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := gid.Parse(r.PathValue("channel"))
		if err != nil || id.Kind() != gid.Channel {
			hookAnswer(w, http.StatusNotFound, "there is no such address")
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHook))
		if err != nil {
			status := http.StatusBadRequest
			if e := (*http.MaxBytesError)(nil); errors.As(err, &e) {
				status = http.StatusRequestEntityTooLarge
			}
			hookAnswer(w, status, "the body could not be read, or is larger than 1 MiB")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), hookDeadline)
		defer cancel()
		ans, n, err := d.Receive(ctx, r.PathValue("kind"), id, r.PathValue("secret"),
			&channels.Request{Method: r.Method, Header: r.Header, Query: r.URL.Query(), Body: body})
		if err != nil {
			hookRefused(w, r, log, id, err)
			return
		}
		if ans.ContentType != "" {
			w.Header().Set("Content-Type", ans.ContentType)
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(max(ans.Status, http.StatusOK))
		if ans.Body != nil {
			_, _ = w.Write(ans.Body(n))
		}
	})
}

func hookRefused(w http.ResponseWriter, r *http.Request, log *slog.Logger, id gid.ID, err error) {
	var no *channels.Refused
	switch {
	case errors.As(err, &no):
		hookAnswer(w, no.Status, no.Message)
	case errors.Is(err, desk.ErrNoHook):
		hookAnswer(w, http.StatusNotFound, "there is no such address")
	case errors.Is(err, desk.ErrChannelPaused):
		w.Header().Set("Retry-After", "60")
		hookAnswer(w, http.StatusServiceUnavailable, "the channel is switched off")
	default:
		log.ErrorContext(r.Context(), "receive", "channel", id, "error", err)
		w.Header().Set("Retry-After", "1")
		hookAnswer(w, http.StatusServiceUnavailable, "nothing was stored; send it again")
	}
}

func hookAnswer(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message})
}

// Files takes and gives files at signed addresses: `/files/{id}?…`. Nothing a stranger sent is shown inline but plain
// pictures, and never with the rights of a page.
func Files(d *desk.Desk, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := gid.Parse(r.PathValue("id"))
		recorded := err == nil && id.Kind() == gid.Recording && r.Method != http.MethodPut
		if err != nil || id.Kind() != gid.Attachment && !recorded {
			hookAnswer(w, http.StatusNotFound, "there is no such file")
			return
		}
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		most, err := d.CheckLink(method, id, r.URL.Query())
		if err != nil {
			hookAnswer(w, http.StatusForbidden, "the address is not ours or its time is over")
			return
		}
		if method == http.MethodPut {
			put(w, r, d, log, id, most)
			return
		}
		get(w, r, d, log, id)
	})
}

func put(w http.ResponseWriter, r *http.Request, d *desk.Desk, log *slog.Logger, id gid.ID, most int64) {
	if r.ContentLength > most {
		hookAnswer(w, http.StatusRequestEntityTooLarge, "the file is larger than announced")
		return
	}
	// One byte more than announced, so that a longer file is told from one that fits.
	err := d.TakeUpload(r.Context(), id, http.MaxBytesReader(w, r.Body, most+1))
	no, refused := desk.RefusalOf(err)
	var large *http.MaxBytesError
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case refused && no.Code == desk.NotFound:
		hookAnswer(w, http.StatusNotFound, no.Message)
	case refused && no.Code == desk.TooLong, errors.As(err, &large):
		hookAnswer(w, http.StatusRequestEntityTooLarge, "the file is larger than announced")
	case refused:
		hookAnswer(w, http.StatusConflict, no.Message)
	default:
		log.ErrorContext(r.Context(), "take file", "attachment", id, "error", err)
		hookAnswer(w, http.StatusServiceUnavailable, "the file was not stored; put it again")
	}
}

func get(w http.ResponseWriter, r *http.Request, d *desk.Desk, log *slog.Logger, id gid.ID) {
	f, info, name, err := d.OpenFile(r.Context(), id)
	if no, ok := desk.RefusalOf(err); ok || errors.Is(err, blob.ErrNotFound) {
		message := "there is no such file"
		if ok {
			message = no.Message
		}
		hookAnswer(w, http.StatusNotFound, message)
		return
	}
	if err != nil {
		log.ErrorContext(r.Context(), "open file", "attachment", id, "error", err)
		hookAnswer(w, http.StatusServiceUnavailable, "the file cannot be read now")
		return
	}
	defer func() { _ = f.Close() }()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Cache-Control", "private, no-store")
	if blob.SafeInline(info.ContentType) {
		h.Set("Content-Type", info.ContentType)
		h.Set("Content-Disposition", disposition("inline", name))
	} else {
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", disposition("attachment", name))
	}
	http.ServeContent(w, r, "", info.ModTime, f)
}

// disposition names a file by RFC 6266; mime writes other letters than ASCII in the extended form of RFC 8187.
func disposition(how, name string) string {
	if s := mime.FormatMediaType(how, map[string]string{"filename": name}); s != "" {
		return s
	}
	return how
}

// Pages lets pages of any origin call: tokens travel in a header or in connection_init, never in a cookie, so a foreign
// page has nothing to ride on. It notes the page's origin, for sites that admit some and not others.
func Pages(next http.Handler, methods string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin != "" && r.Header.Get("Upgrade") == "" {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Expose-Headers", "Retry-After")
			if r.Method == http.MethodOptions {
				h.Set("Access-Control-Allow-Methods", methods)
				h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Accept-Language")
				h.Set("Access-Control-Max-Age", "86400")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(WithOrigin(r.Context(), origin)))
	})
}
