package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// vars are the variables of a document.
type vars map[string]any

// client speaks GraphQL over HTTP with one token. Safe for concurrent use.
type client struct {
	url  string
	http *http.Client

	mu      sync.Mutex
	token   string
	until   time.Time // when the token ends; zero: it need not be renewed
	refresh string
}

// refusal is what userErrors say.
type refusal struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// Error is the code and the message.
func (r *refusal) Error() string { return r.Code + ": " + r.Message }

// answerError is an answer with GraphQL errors.
type answerError struct {
	Message    string `json:"message"`
	Extensions struct {
		Code string `json:"code"`
	} `json:"extensions"`
}

// Error is the code and the message.
func (e *answerError) Error() string { return e.Extensions.Code + ": " + e.Message }

// tokens is what a login gives.
type tokens struct {
	AccessToken     string    `json:"accessToken"`
	AccessExpiresAt time.Time `json:"accessExpiresAt"`
	RefreshToken    string    `json:"refreshToken"`
}

const tokenFields = "tokens { accessToken accessExpiresAt refreshToken } userErrors { code message retryable }"

func (c *client) with(token string) *client { return &client{url: c.url, http: c.http, token: token} }

// login makes a client with a session that renews itself.
func (c *client) login(ctx context.Context, email, password string) (*client, error) {
	var out struct {
		Made struct{ Tokens tokens }
	}
	err := c.ask(ctx, `mutation($i: SessionInput!) { made: sessionCreate(input: $i) { `+tokenFields+` } }`,
		vars{"i": vars{"email": email, "password": password, "client": "demo"}}, &out)
	return c.session(out.Made.Tokens), err
}

func (c *client) session(t tokens) *client {
	return &client{url: c.url, http: c.http, token: t.AccessToken, until: t.AccessExpiresAt, refresh: t.RefreshToken}
}

// bearer is the token, bought anew shortly before its end.
func (c *client) bearer(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.IsZero() || time.Until(c.until) > 2*time.Minute {
		return c.token, nil
	}
	var out struct {
		Made struct{ Tokens tokens }
	}
	err := c.with("").ask(ctx, `mutation($t: String!) { made: sessionRefresh(refreshToken: $t) { `+tokenFields+` } }`, vars{"t": c.refresh}, &out)
	if err != nil {
		return "", fmt.Errorf("renew the session: %w", err)
	}
	c.token, c.until, c.refresh = out.Made.Tokens.AccessToken, out.Made.Tokens.AccessExpiresAt, out.Made.Tokens.RefreshToken
	return c.token, nil
}

// ask does one operation and reads its data. An answer with errors or userErrors is an error.
func (c *client) ask(ctx context.Context, query string, v vars, into any) error {
	token, err := c.bearer(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"query": query, "variables": v})
	if err != nil {
		return fmt.Errorf("write operation: %w", err)
	}
	raw, err := c.post(ctx, token, body)
	if err != nil {
		return err
	}
	var answer struct {
		Data   map[string]json.RawMessage
		Errors []*answerError
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if len(answer.Errors) > 0 {
		return answer.Errors[0]
	}
	for _, field := range answer.Data {
		var payload struct{ UserErrors []*refusal }
		if json.Unmarshal(field, &payload) == nil && len(payload.UserErrors) > 0 {
			return payload.UserErrors[0]
		}
	}
	if into == nil {
		return nil
	}
	whole := struct{ Data any }{into}
	if err := json.Unmarshal(raw, &whole); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

func (c *client) post(ctx context.Context, token string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return c.send(req)
}

// send makes a request and reads its answer, whatever its status is: GraphQL has its own words for failures.
func (c *client) send(req *http.Request) ([]byte, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	if res.StatusCode >= 400 && !json.Valid(raw) {
		return nil, fmt.Errorf("ask: status %d", res.StatusCode)
	}
	return raw, nil
}

// do is ask for a mutation with an idempotency key among its variables: what has no answer is said again, with the same
// key, which makes it one effect.
func (c *client) do(ctx context.Context, query string, v vars, into any) error {
	var err error
	for n := range 4 {
		if n > 0 {
			if err := sleep(ctx, time.Duration(n)*400*time.Millisecond); err != nil {
				return err
			}
		}
		err = c.ask(ctx, query, v, into)
		var no *refusal
		if err == nil || ctx.Err() != nil || errors.As(err, &no) && !no.Retryable {
			return err
		}
	}
	return err
}

// target is where a file is put.
type target struct {
	Method, URL string
	Headers     []struct{ Key, Value string }
}

// put puts a file at its signed address.
func (c *client) put(ctx context.Context, t target, file []byte) error {
	req, err := http.NewRequestWithContext(ctx, t.Method, t.URL, bytes.NewReader(file))
	if err != nil {
		return fmt.Errorf("put file: %w", err)
	}
	for _, h := range t.Headers {
		req.Header.Set(h.Key, h.Value)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("put file: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= 300 {
		return fmt.Errorf("put file: status %d", res.StatusCode)
	}
	return nil
}
