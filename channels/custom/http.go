package custom

import (
	"bytes"
	"context"
	"net/http"
	"net/url"

	"tributary/channels"
	"tributary/internal/fetch"
)

// maxAnswer is the most bytes of a bridge's answer.
const maxAnswer = 64 << 10

// The purposes of our connections, for the operator's allow-lists.
const (
	purposeCallback = "callback"
	purposeMedia    = "media"
)

// call makes one signed request and reads its answer. Redirects are not
// followed: the signature is for the address in the settings. How long it may
// take is the caller's business, on the host's clock.
func (c *Channel) call(ctx context.Context, method, where, id string, body []byte) (*fetch.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, where, bytes.NewReader(body))
	if err != nil {
		return nil, channels.ConfigError(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set(HeaderID, id)
	req.Header.Set(HeaderSignature, Sign(c.config.SigningSecret.Current(), c.clock.Now(), body))
	return c.client.Do(ctx, purposeCallback, req, fetch.Options{MaxBytes: maxAnswer, Redirects: -1})
}

func withID(address, id string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	query := u.Query()
	query.Set("id", id)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// Close implements channels.Channel: it ends idle connections.
func (c *Channel) Close() error {
	c.client.Close()
	return nil
}
