// Package blob keeps files: attachments, recordings, raw mail, exports. A Store streams in under a hard byte cap and
// streams out with seeking; what a file is was decided by its content when it came in, never by what the sender said.
//
// Folder is the implementation for one machine, S3 the one for several that share a bucket. Both write the same form, a
// file's content with its description behind it, so what is in a folder can be copied into a bucket as it is. Signer
// makes and checks the short-lived links by which a browser fetches or uploads without a token.
//
// Neighbours: desk and graph decide who may see a file and what its key is; internal/crypt gives the signing key;
// internal/dial gives S3 its connections. This room knows no workspace and no right, and does not clean names: a key is
// made of ids by our own code.
//
// Invariants: a reader sees a whole file or none, also after a crash; a file over its cap or on a full disk leaves
// nothing behind; size, hash and type of a stored file never change, because they are part of it. No goroutines but
// those of idle connections.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"time"

	"github.com/gabriel-vasile/mimetype"
)

var (
	// ErrTooLarge is returned by Put when the content does not end within its cap; nothing was kept.
	ErrTooLarge = errors.New("file is too large")
	// ErrNotFound is returned by Get and Stat for a key that holds no file.
	ErrNotFound = errors.New("file not found")
	// ErrKey is returned for a key that is not one to 20 names of letters, digits, dot, dash and underscore, joined by
	// slashes. It means a mistake in our code or an attack.
	ErrKey = errors.New("invalid file key")
	// ErrDamaged is returned by Get and Stat for a file that Put did not finish or somebody changed.
	ErrDamaged = errors.New("file is damaged")
)

// Store keeps files under keys. Safe for concurrent use.
type Store interface {
	// Put stores what r gives, at most max bytes, and replaces what the key held. It returns when the file is durable.
	// r must end when ctx does.
	Put(ctx context.Context, key string, r io.Reader, max int64) (Info, error)
	// Get opens the file; the caller closes it. What was opened is never mixed with another file: after a later Put or
	// Delete reading goes on with the old one (Folder always, S3 for small files) or fails with ErrNotFound. Reading ends
	// when ctx does, where it needs the network.
	Get(ctx context.Context, key string) (io.ReadSeekCloser, Info, error)
	// Delete removes the file. Deleting what is not there succeeds, so that an erasure can be repeated.
	Delete(ctx context.Context, key string) error
	// Stat describes the file without opening it.
	Stat(ctx context.Context, key string) (Info, error)
}

// Info describes a stored file.
type Info struct {
	Bytes       int64
	SHA256      string    // of the content, in hex
	ContentType string    // found in the content, with parameters: "text/plain; charset=utf-8"
	ModTime     time.Time // when it was stored, UTC
}

const sniffed = 3072 // bytes that decide the type

// prepareSniffing tells the library where the head is cut, or it takes the head of a long JSON file for broken JSON.
func prepareSniffing() { mimetype.SetLimit(sniffed) }

// sniff names the type of a file by its beginning.
func sniff(head []byte) string { return mimetype.Detect(head).String() }

// SafeInline reports whether a browser may show a file of this type inside a page. Only pictures that cannot carry
// script: everything else, SVG and PDF above all, goes out as a download.
func SafeInline(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return true
	}
	return false
}

// checkKey keeps keys boring: they become paths here, object names elsewhere and parts of links. A leading dot is ours.
func checkKey(key string) error {
	parts := strings.Split(key, "/")
	if len(key) > 512 || len(parts) > 20 {
		return fmt.Errorf("%w: too long", ErrKey)
	}
	for _, p := range parts {
		if p == "" || p[0] == '.' || len(p) > 200 || strings.IndexFunc(p, unboring) >= 0 {
			return fmt.Errorf("%w: %.80q", ErrKey, key)
		}
	}
	return nil
}

func unboring(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
		return false
	}
	return true
}
