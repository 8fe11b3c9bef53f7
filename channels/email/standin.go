package email

// This file stands in for the reading half of the package, which makes an event
// of a mail. DELETE IT when read.go is there.

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/mail"
	"strings"
	"time"

	"tributary/channels"
)

type reader struct {
	own      []string
	marks    bool
	authserv []string
	locale   string
	blob     channels.Blob
	clock    channels.Clock
}

func (r *reader) read(ctx context.Context, m io.Reader, size int64, received time.Time) (channels.Inbound, error) {
	in := channels.Inbound{Kind: channels.InboundMessage, OccurredAt: received.UTC(), ThreadKey: "none"}
	sum := sha256.New()
	buffered := bufio.NewReader(io.TeeReader(m, sum))
	parsed, err := mail.ReadMessage(buffered)
	var start []byte
	if err != nil {
		in.Unreadable = "no mail"
	} else {
		in.Subject = parsed.Header.Get("Subject")
		in.RefID = strings.Trim(parsed.Header.Get("Message-Id"), "<>")
		if from, err := parsed.Header.AddressList("From"); err == nil {
			in.Sender = []channels.IdentityKey{{Kind: channels.IdentityEmail, Value: from[0].Address}}
		}
	}
	if start, err = io.ReadAll(io.LimitReader(buffered, 64<<10)); err != nil {
		return in, err
	}
	if r.blob == nil {
		_, err = io.Copy(io.Discard, buffered)
	} else if in.Raw.Blob, in.Raw.Size, err = r.blob.Put(ctx, buffered, "message/rfc822"); err != nil {
		return in, err
	}
	if err != nil {
		return in, err
	}
	in.Parts = []channels.Part{{Type: channels.PartText, Text: string(start)}}
	in.ExternalID = "h:" + hex.EncodeToString(sum.Sum(nil))
	in.Raw.Bytes = start
	return in, nil
}
