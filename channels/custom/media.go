package custom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"tributary/channels"
	"tributary/internal/fetch"
)

const (
	maxRedirects = 3
	// mediaPatience is how long an attachment may take in all.
	mediaPatience = 5 * time.Minute
)

var hostShape = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// isHostPattern takes a host name or an IPv4 address, and "*." before a name.
func isHostPattern(text string) bool { return len(text) <= 255 && hostShape.MatchString(text) }

// mayFetch checks an address against mediaHosts. The guarded dialer refuses
// private networks; this list is the operator's narrower choice.
func (c *Channel) mayFetch(u *url.URL) error {
	if len(c.config.MediaHosts) == 0 {
		return nil
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	for _, pattern := range c.config.MediaHosts {
		base, wild := strings.CutPrefix(pattern, "*")
		if host == pattern || wild && strings.HasSuffix(host, base) {
			return nil
		}
	}
	return channels.Permanent(fmt.Errorf("host %s is not among the media hosts", host)).
		WithText("The file lies on a host that is not allowed for this channel.")
}

// FetchMedia implements channels.MediaFetcher. Redirects are followed one by one,
// so that each of them is checked against the settings. The class of an error is
// AttachmentExpired when the host does not have the file (any more), and
// Permanent for a forbidden host or a file of more than max bytes.
func (c *Channel) FetchMedia(ctx context.Context, ref channels.MediaRef, w io.Writer, max int64) (string, error) {
	ctx, cancel := channels.WithTimeout(ctx, c.clock, mediaPatience)
	defer cancel()
	where := ref.URL
	for range maxRedirects + 1 {
		resp, body, err := c.get(ctx, where, max)
		if err != nil {
			return "", err
		}
		next := redirect(resp)
		if next == "" {
			contentType, err := c.copyMedia(resp, body, w)
			_ = body.Close() // The bytes are read or given up.
			return contentType, err
		}
		_ = body.Close() // Nothing in it is wanted.
		where = next
	}
	return "", channels.Permanent(fmt.Errorf("fetch attachment: more than %d redirects", maxRedirects))
}

func redirect(resp *fetch.Response) string {
	location := resp.Header.Get("Location")
	if resp.Status < 300 || resp.Status > 399 || location == "" {
		return ""
	}
	next, err := resp.URL.Parse(location)
	if err != nil {
		return ""
	}
	return next.String()
}

func (c *Channel) get(ctx context.Context, where string, max int64) (*fetch.Response, io.ReadCloser, error) {
	if !fetchable(where) {
		return nil, nil, channels.Permanent(errors.New("fetch attachment: the address cannot be fetched"))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, nil, channels.Permanent(fmt.Errorf("fetch attachment: %w", err))
	}
	if err := c.mayFetch(req.URL); err != nil {
		return nil, nil, err
	}
	resp, body, err := c.client.Stream(ctx, purposeMedia, req, fetch.Options{MaxBytes: max, Redirects: -1})
	return resp, body, mediaError(err)
}

func mediaError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fetch.ErrTooLarge):
		return channels.Permanent(fmt.Errorf("fetch attachment: %w", err)).WithText("The file is too large.")
	}
	return fmt.Errorf("fetch attachment: %w", err)
}

func (c *Channel) copyMedia(resp *fetch.Response, body io.Reader, w io.Writer) (string, error) {
	err := fmt.Errorf("fetch attachment: answer %d", resp.Status)
	switch s := resp.Status; {
	case s == http.StatusOK:
	case s == http.StatusForbidden, s == http.StatusNotFound, s == http.StatusGone:
		return "", channels.AttachmentExpired(err)
	case s == http.StatusTooManyRequests, s >= 500:
		return "", channels.RetryAfter(err, c.wait(resp.Header))
	default:
		return "", channels.Permanent(err)
	}
	if _, err := io.Copy(w, body); err != nil {
		return "", mediaError(err)
	}
	return mediaType(resp.Header.Get("Content-Type")), nil
}
