package blob

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"time"
)

// The stored form: the content, its description as JSON, the length of that in four bytes, and eight bytes that say what
// this is. The description stands behind because hash and size are known only when the content has gone by, and in the
// same file or object because then one step makes both visible.
const (
	magic    = "TRBFILE1"
	tailSize = 4 + len(magic)
	maxMeta  = 4096                      // more is no description of ours
	maxTail  = int64(maxMeta + tailSize) // bytes at the end that hold any description
)

type meta struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Type   string `json:"type"`
	At     int64  `json:"at,omitempty"` // when it was stored, Unix milliseconds; 0 where the store itself knows
}

func footer(i Info, at int64) []byte {
	b, _ := json.Marshal(meta{i.Bytes, i.SHA256, i.ContentType, at}) // plain fields cannot fail
	b = binary.BigEndian.AppendUint32(b, uint32(len(b)))
	return append(b, magic...)
}

// parseTail reads the description in tail, the last bytes of total. stored is the time for a file that does not say it.
func parseTail(tail []byte, total int64, stored time.Time) (Info, error) {
	end := len(tail) - tailSize
	if end < 0 {
		return Info{}, ErrDamaged
	}
	size := int64(binary.BigEndian.Uint32(tail[end:]))
	if string(tail[end+4:]) != magic || size > maxMeta || size > int64(end) {
		return Info{}, ErrDamaged
	}
	var m meta
	if err := json.Unmarshal(tail[int64(end)-size:end], &m); err != nil || m.Bytes != total-int64(tailSize)-size {
		return Info{}, ErrDamaged
	}
	if m.At != 0 {
		stored = time.UnixMilli(m.At)
	}
	return Info{Bytes: m.Bytes, SHA256: m.SHA256, ContentType: m.Type, ModTime: stored.UTC()}, nil
}

// fill streams r into w, then the description behind it. Without a clock the time is left to the store.
func fill(ctx context.Context, w io.Writer, r io.Reader, max int64, clock func() time.Time) (Info, error) {
	src := &counter{ctx: ctx, r: r, left: max}
	head, err := io.ReadAll(io.LimitReader(src, sniffed)) // ReadFull takes a source that broke off for one that ended
	if err != nil {
		return Info{}, err
	}
	sum := sha256.New()
	both := io.MultiWriter(w, sum)
	if _, err := both.Write(head); err != nil {
		return Info{}, err
	}
	if _, err := io.Copy(both, src); err != nil {
		return Info{}, err
	}
	info := Info{Bytes: max - src.left, SHA256: hex.EncodeToString(sum.Sum(nil)), ContentType: sniff(head)}
	var ms int64
	if clock != nil {
		ms = clock().UnixMilli()
		info.ModTime = time.UnixMilli(ms).UTC()
	}
	_, err = w.Write(footer(info, ms))
	return info, err
}

// counter reads at most left bytes; one more is ErrTooLarge. It ends when ctx does.
type counter struct {
	ctx  context.Context // lives for one Put, like the counter itself
	r    io.Reader
	left int64
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	if int64(len(p)) > c.left { // room for one byte more than allowed shows whether there is one
		p = p[:max(c.left, 0)+1]
	}
	n, err := c.r.Read(p)
	if int64(n) > c.left {
		return 0, ErrTooLarge
	}
	c.left -= int64(n)
	return n, err
}
