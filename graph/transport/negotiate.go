package transport

import (
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// The forms an answer takes.
const (
	mediaResponse = "application/graphql-response+json"
	mediaJSON     = "application/json"
	mediaEvents   = "text/event-stream"
)

// accepted is the form that a client likes best; the first one named wins a tie, and plain JSON whatever is not named.
// It is empty if the client takes none of ours.
func accepted(r *http.Request) string {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return mediaJSON
	}
	best, weight := "", 0.0
	for part := range strings.SplitSeq(header, ",") {
		media, q := weighted(part)
		switch media {
		case "*/*", "application/*":
			media = mediaJSON
		case "text/*":
			media = mediaEvents
		case mediaResponse, mediaJSON, mediaEvents:
		default:
			continue
		}
		if q > weight {
			best, weight = media, q
		}
	}
	return best
}

// weighted splits one member of an Accept header.
func weighted(part string) (string, float64) {
	name, rest, _ := strings.Cut(part, ";")
	q := 1.0
	for p := range strings.SplitSeq(rest, ";") {
		if v, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(p)), "q="); ok {
			if f, err := strconv.ParseFloat(v, 64); err == nil {
				q = f
			}
		}
	}
	return strings.ToLower(strings.TrimSpace(name)), q
}

// isJSON says whether a body is declared as JSON in UTF-8, the only form that is read. A page of another site can send
// the other forms without being asked.
func isJSON(r *http.Request) bool {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != mediaJSON && media != mediaResponse {
		return false
	}
	charset := params["charset"]
	return charset == "" || strings.EqualFold(charset, "utf-8")
}

// gzipFrom is the size from which an answer is worth packing.
const gzipFrom = 1 << 10

var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // fails for unknown levels only
	return z
}}

func takesGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		if coding, q := weighted(part); (coding == "gzip" || coding == "*") && q > 0 {
			return true
		}
	}
	return false
}

// write sends a whole answer.
func write(w http.ResponseWriter, r *http.Request, status int, media string, body []byte) {
	head := w.Header()
	head.Set("Content-Type", media+"; charset=utf-8")
	if len(body) > gzipFrom && takesGzip(r) {
		head.Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		z, _ := packers.Get().(*gzip.Writer)
		z.Reset(w)
		_, _ = z.Write(body) // a client that went away
		_ = z.Close()
		z.Reset(io.Discard)
		packers.Put(z)
		return
	}
	head.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
