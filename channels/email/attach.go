package email

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"

	"tributary/channels"
	"tributary/internal/clean"
)

// file writes an attachment out of the file store. Its name stands twice: as the
// standard has it (RFC 2231), and as older programs read it (RFC 2047).
func (l *letter) file(ctx context.Context, w *bufio.Writer, ref channels.MediaRef) error {
	if l.blob == nil || ref.Blob == "" {
		return channels.Permanent(errors.New("an attachment is not in the file store"))
	}
	name := clean.FileName(ref.Name)
	var head fields
	head.add("Content-Type", append([]string{mediaType(ref.ContentType) + ";"}, oldName(name)...)...)
	head.add("Content-Transfer-Encoding", "base64")
	head.add("Content-Disposition", append([]string{"attachment;"}, newName(name)...)...)
	_, _ = w.WriteString(head.String() + "\r\n") // The writer keeps its error for Flush.
	bytes, err := l.blob.Get(ctx, ref.Blob)
	if err != nil {
		return fmt.Errorf("open attachment: %w", err)
	}
	defer bytes.Close() //nolint:errcheck // It was read only.
	encoded := encoder(w)
	if _, err := io.Copy(encoded, bytes); err != nil {
		return fmt.Errorf("copy attachment: %w", err)
	}
	if err := encoded.Close(); err != nil {
		return fmt.Errorf("copy attachment: %w", err)
	}
	_, err = w.WriteString("\r\n")
	return err
}

// mediaType is the type of a file without its parameters. Types that are mails
// or parts themselves may not be encoded (RFC 2046 section 5.2.1).
func mediaType(claimed string) string {
	kind, _, err := mime.ParseMediaType(claimed)
	if err != nil || len(kind) > 100 || !strings.Contains(kind, "/") || strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "message/") {
		return "application/octet-stream"
	}
	return kind
}

func oldName(name string) []string {
	if ascii(name) {
		return []string{"name=" + quote(name)}
	}
	list := encodedWords(name)
	list[0], list[len(list)-1] = `name="`+list[0], list[len(list)-1]+`"`
	return list
}

func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// newName cuts a long name into numbered pieces (RFC 2231 section 3), since a
// line has at most 998 bytes.
func newName(name string) []string {
	if ascii(name) {
		return []string{"filename=" + quote(name)}
	}
	const most = 50
	var pieces []string
	piece := "utf-8''"
	for i := range len(name) {
		unit := string(name[i])
		if !attributeChar(name[i]) {
			unit = fmt.Sprintf("%%%02X", name[i])
		}
		if len(piece)+len(unit) > most {
			pieces, piece = append(pieces, piece), ""
		}
		piece += unit
	}
	pieces = append(pieces, piece)
	if len(pieces) == 1 {
		return []string{"filename*=" + pieces[0]}
	}
	for i, p := range pieces {
		pieces[i] = fmt.Sprintf("filename*%d*=%s", i, p)
		if i < len(pieces)-1 {
			pieces[i] += ";"
		}
	}
	return pieces
}

func attributeChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
}
