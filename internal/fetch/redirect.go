package fetch

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// follow sends req and goes where redirects lead, allowed times. http.Client is not used because its errors carry whole addresses, and it
// hands the caller's headers and a Referer to whatever host a redirect names.
func (c *Client) follow(ctx context.Context, purpose string, req *http.Request, allowed int) (*http.Response, error) {
	if err := checkURL(req.URL); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	req = req.Clone(ctx)
	if req.Header.Get("User-Agent") == "" {
		setHeader(req, "User-Agent", "Tributary")
	}
	if u := req.URL.User; u != nil && req.Header.Get("Authorization") == "" {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	pool := c.pool(purpose)
	for hop := 0; ; hop++ {
		resp, err := pool.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		method, ok := redirected(resp)
		if !ok || allowed == 0 {
			return resp, nil
		}
		if hop == allowed {
			drop(resp)
			return nil, fmt.Errorf("%w: too many", ErrRedirect)
		}
		next, err := nextRequest(ctx, req, resp, method)
		if err != nil {
			drop(resp)
			return nil, err
		}
		if next == nil {
			return resp, nil
		}
		drop(resp)
		req = next
	}
}

// redirected reports whether resp is a redirect, and by which method the next request goes.
func redirected(resp *http.Response) (method string, ok bool) {
	if resp.Header.Get("Location") == "" {
		return "", false
	}
	method = resp.Request.Method
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if method != http.MethodHead {
			method = http.MethodGet
		}
		return method, true
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return method, true
	}
	return "", false
}

// nextRequest makes the request that a redirect asks for, or nil when its body is gone.
func nextRequest(ctx context.Context, req *http.Request, resp *http.Response, method string) (*http.Request, error) {
	to, err := req.URL.Parse(resp.Header.Get("Location"))
	if err != nil {
		return nil, fmt.Errorf("%w: to no address", ErrRedirect) // err quotes the address, and with it its tokens
	}
	if err := checkURL(to); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRedirect, err)
	}
	if req.URL.Scheme == "https" && to.Scheme == "http" {
		return nil, fmt.Errorf("%w: out of https", ErrRedirect)
	}
	to.User = nil
	next := req.Clone(ctx)
	next.URL, next.Method = to, method
	next.Body, next.GetBody, next.ContentLength = nil, nil, 0
	away := to.Scheme != req.URL.Scheme || to.Host != req.URL.Host
	if away {
		next.Host = ""
		next.Header = http.Header{}
		for _, name := range []string{"Accept", "Accept-Language", "User-Agent"} {
			if v := req.Header.Values(name); len(v) > 0 {
				next.Header[name] = v
			}
		}
	}
	hasBody := req.Body != nil && req.Body != http.NoBody
	if method != req.Method || !hasBody {
		next.Header.Del("Content-Type")
		return next, nil
	}
	if away {
		return nil, fmt.Errorf("%w: with a body to another host", ErrRedirect)
	}
	if req.GetBody == nil {
		return nil, nil
	}
	if next.Body, err = req.GetBody(); err != nil {
		return nil, fmt.Errorf("repeat the body: %w", err)
	}
	next.GetBody, next.ContentLength = req.GetBody, req.ContentLength
	return next, nil
}

func checkURL(u *url.URL) error {
	if u == nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ErrScheme
	}
	return nil
}

func setHeader(req *http.Request, name, value string) {
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set(name, value)
}

// drop ends an answer nobody reads; a short rest is read so that the connection can be used again.
func drop(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 2<<10)
	_ = resp.Body.Close()
}
