package rig

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// Login is an agent's session that outlives restarts and renews itself: access tokens live 10 minutes, long runs longer.
// Safe for concurrent use.
type Login struct {
	ID string // the agent's

	mu      sync.Mutex
	client  Client
	refresh string
	others  []string // addresses of other nodes
}

// Also names further nodes of the same service: a call that finds nobody makes the next one go to the next address.
func (l *Login) Also(urls ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.others = append(l.others, urls...)
}

// turn leaves an address that did not answer.
func (l *Login) turn(from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.others) > 0 && l.client.URL == from {
		l.client.URL, l.others = l.others[0], append(l.others[1:], from)
	}
}

// At is a client of one node with the newest access token.
func (l *Login) At(url string) *Client {
	c := l.Client()
	c.URL = url
	return c
}

// NewLogin makes an agent who has room for a thousand custom interactions, invites him and logs him in.
func (w *Workspace) NewLogin(t testing.TB, name, role string) *Login {
	t.Helper()
	profile := w.Admin.Must(t, `mutation($i:CapacityProfileCreateInput!){capacityProfileCreate(input:$i){capacityProfile{id} userErrors{code message}}}`,
		M{"i": M{"name": Unique("wide"), "units": 1000, "rules": []M{{"channelKind": "custom", "unitsEach": 1, "maxAtOnce": 0}}}}).At("capacityProfileCreate", "capacityProfile", "id").String()
	id := w.Admin.Must(t, `mutation($i:AgentCreateInput!){agentCreate(input:$i){agent{id} userErrors{code message}}}`,
		M{"i": M{"displayName": name, "email": Unique(name) + "@example.com", "roleId": w.Roles[role], "capacityProfileId": profile}}).At("agentCreate", "agent", "id").String()
	secret := w.Admin.Must(t, `mutation($id:ID!){agentInvite(id:$id){secret userErrors{code message}}}`, M{"id": id}).At("agentInvite", "secret").String()
	c := &Client{URL: w.Node.URL}
	tokens := c.Must(t, `mutation($s:String!){invitationAccept(secret:$s,password:"correct horse battery",client:"test"){tokens{accessToken refreshToken} userErrors{code message}}}`,
		M{"s": secret}).At("invitationAccept", "tokens")
	return &Login{ID: id, client: Client{URL: w.Node.URL, Token: tokens.At("accessToken").String()}, refresh: tokens.At("refreshToken").String()}
}

// Client is one with the newest access token; a copy, so that a renewal does not change a call under way.
func (l *Login) Client() *Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.client
	return &c
}

// Ask is Client.Do that is satisfied with whole answers alone: a GraphQL error, or a root field that is null, is an
// error. What cannot be read must never count as nothing there.
func (l *Login) Ask(ctx context.Context, query string, vars M) (Value, error) {
	c := l.Client()
	v, err := c.Do(ctx, query, vars)
	if err != nil {
		l.turn(c.URL)
		return Value{}, err
	}
	return Whole(v)
}

// Whole is the `data` of a whole answer.
func Whole(v Value) (Value, error) {
	if e := v.At("errors"); !e.Nil() {
		return Value{}, &AnswerError{Code: e.At(0, "extensions", "code").String(), Text: e.JSON()}
	}
	data, ok := v.At("data").V.(map[string]any)
	if !ok || len(data) == 0 {
		return Value{}, fmt.Errorf("an answer without data: %s", v.JSON())
	}
	for name, field := range data {
		if field == nil {
			return Value{}, fmt.Errorf("%s is null", name)
		}
	}
	return Value{data}, nil
}

// AnswerError is an answer with GraphQL errors; the program was there and said no.
type AnswerError struct{ Code, Text string }

// Error is what the program said.
func (e *AnswerError) Error() string { return e.Text }

// Renew exchanges the refresh token. Nobody may kill the program meanwhile: a token that was exchanged without our
// hearing of it ends the session when it is used again.
func (l *Login) Renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := Client{URL: l.client.URL}
	v, err := open.Do(ctx, `mutation($r:String!){sessionRefresh(refreshToken:$r){tokens{accessToken refreshToken} userErrors{code message}}}`, M{"r": l.refresh})
	if err != nil {
		return err
	}
	if v, err = Whole(v); err != nil {
		return err
	}
	tokens := v.At("sessionRefresh", "tokens")
	if tokens.Nil() {
		return errors.New("the session was not renewed: " + v.JSON())
	}
	l.client.Token, l.refresh = tokens.At("accessToken").String(), tokens.At("refreshToken").String()
	return nil
}

// LoginOf is a login by a token that is there already; it cannot be renewed.
func LoginOf(url, token string) *Login { return &Login{client: Client{URL: url, Token: token}} }
