package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/apikey"
	"tributary/ent/session"
	"tributary/ent/team"
	"tributary/ent/visitorsession"
	"tributary/internal/auth"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/limit"
	"tributary/internal/viewer"
)

// Prefixes of secrets, so that a leaked one is recognised.
const (
	prefixKey        = "trb_"
	prefixInvitation = "trbi_"
	prefixVisitor    = "trbv_"
	prefixHook       = "trbh_"
)

// ErrUnauthenticated is the answer to a token that proves nobody.
var ErrUnauthenticated = errors.New("the token is unusable")

// viewerMemory is how long a proved viewer is remembered: what MODEL 10 allows a revoked token to live on.
const viewerMemory = 5 * time.Second

type viewerCache struct {
	mu      sync.Mutex
	byToken map[gid.ID]cachedViewer
}

type cachedViewer struct {
	v     *viewer.Viewer
	until time.Time
}

func (c *viewerCache) get(id gid.ID, now time.Time) *viewer.Viewer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byToken[id]; ok && now.Before(e.until) {
		return e.v
	}
	return nil
}

func (c *viewerCache) put(id gid.ID, v *viewer.Viewer, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byToken) > 20_000 { // bounded: forget what is over, or everything
		for k, e := range c.byToken {
			if now.After(e.until) {
				delete(c.byToken, k)
			}
		}
		if len(c.byToken) > 20_000 {
			clear(c.byToken)
		}
	}
	c.byToken[id] = cachedViewer{v, now.Add(viewerMemory)}
}

func (c *viewerCache) drop(id gid.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byToken, id)
}

// clear forgets every proved viewer of this node: somebody's rights changed.
func (c *viewerCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.byToken)
}

// Authenticate makes the one Viewer of a request or socket from its token; ErrUnauthenticated if it proves nobody.
func (d *Desk) Authenticate(ctx context.Context, token string) (*viewer.Viewer, error) {
	ctx = within(viewer.Global(ctx))
	if strings.HasPrefix(token, prefixKey) {
		return d.viewerOfKey(ctx, token)
	}
	c, err := d.Tokens.Parse(token)
	if err != nil {
		return nil, ErrUnauthenticated
	}
	if c.Kind == auth.Operator {
		return &viewer.Viewer{Kind: viewer.KindSystem, Scopes: []viewer.Scope{viewer.SystemAdmin}}, nil
	}
	if v := d.viewer.get(c.Session, d.Now()); v != nil {
		return v, nil
	}
	var v *viewer.Viewer
	switch c.Kind {
	case auth.Agent:
		v, err = d.viewerOfSession(ctx, c.Session)
	case auth.Visitor:
		v, err = d.viewerOfVisitor(ctx, c.Session)
	default:
		err = ErrUnauthenticated
	}
	if err != nil {
		return nil, err
	}
	d.viewer.put(c.Session, v, d.Now())
	return v, nil
}

// TokenEnds is when a token ends by itself; zero for keys, which end by their row.
func (d *Desk) TokenEnds(token string) time.Time {
	c, err := d.Tokens.Parse(token)
	if err != nil {
		return time.Time{}
	}
	return c.ExpiresAt
}

// StillStands proves the viewer of a socket again, as he is now; ErrUnauthenticated if he is nobody any more.
func (d *Desk) StillStands(ctx context.Context, v *viewer.Viewer) (*viewer.Viewer, error) {
	ctx = within(viewer.Global(ctx))
	switch v.Token.Kind() {
	case gid.Session:
		return d.viewerOfSession(ctx, v.Token)
	case gid.VisitorSession:
		return d.viewerOfVisitor(ctx, v.Token)
	case gid.APIKey:
		k, err := d.db.APIKey.Query().Where(apikey.ID(v.Token)).WithApp().Only(ctx)
		if err != nil {
			return nil, gone(err)
		}
		return d.viewerOfKeyRow(ctx, k)
	}
	return v, nil
}

func gone(err error) error {
	if ent.IsNotFound(err) {
		return ErrUnauthenticated
	}
	return fmt.Errorf("prove token: %w", err)
}

func (d *Desk) viewerOfSession(ctx context.Context, id gid.ID) (*viewer.Viewer, error) {
	s, err := d.db.Session.Get(ctx, id)
	if err != nil {
		return nil, gone(err)
	}
	if s.RevokedAt != nil || !s.ExpiresAt.After(d.Now()) {
		return nil, ErrUnauthenticated
	}
	v, err := d.viewerOfAgent(ctx, d.db, s.AgentID)
	if err != nil {
		return nil, err
	}
	v.Token = id
	return v, nil
}

// viewerOfAgent is what the agent may do and see: his role, and his teams with their sub-teams.
func (d *Desk) viewerOfAgent(ctx context.Context, db *ent.Client, id gid.ID) (*viewer.Viewer, error) {
	ctx = within(viewer.Global(ctx))
	a, err := db.Agent.Query().Where(agent.ID(id), agent.Active(true)).WithRole().WithTeams().Only(ctx)
	if err != nil {
		return nil, gone(err)
	}
	r := a.Edges.Role
	v := &viewer.Viewer{Kind: viewer.KindAgent, Workspace: a.WorkspaceID, Actor: a.ID, Role: r.ID, Scopes: r.Scopes, Reach: viewer.Reach(r.Reach), Clear: r.PersonalShown}
	if v.Teams, err = withSubTeams(ctx, db, a); err != nil {
		return nil, err
	}
	v.Withheld, err = restrictedTo(ctx, db, a.WorkspaceID, v.Teams)
	return v, err
}

// withSubTeams are the agent's teams and all beneath them.
func withSubTeams(ctx context.Context, db *ent.Client, a *ent.Agent) ([]gid.ID, error) {
	if len(a.Edges.Teams) == 0 {
		return nil, nil
	}
	all, err := db.Team.Query().Where(team.WorkspaceID(a.WorkspaceID)).Select(team.FieldID, team.FieldParentID).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read teams: %w", err)
	}
	var out []gid.ID
	for _, t := range a.Edges.Teams {
		out = append(out, t.ID)
	}
	for n := 0; n < len(out); n++ { // grows while sub-teams are found
		for _, t := range all {
			if t.ParentID != nil && *t.ParentID == out[n] && !slices.Contains(out, t.ID) {
				out = append(out, t.ID)
			}
		}
	}
	return unique(out), nil
}

func (d *Desk) viewerOfKey(ctx context.Context, secret string) (*viewer.Viewer, error) {
	if !crypt.CheckToken(prefixKey, secret) {
		return nil, ErrUnauthenticated
	}
	h := crypt.HashToken(secret)
	k, err := d.db.APIKey.Query().Where(apikey.Hash(h[:])).WithApp().Only(ctx)
	if err != nil {
		return nil, gone(err)
	}
	v, err := d.viewerOfKeyRow(ctx, k)
	if err == nil && (k.LastUsedAt == nil || d.Now().Sub(*k.LastUsedAt) > time.Minute) {
		if err := d.db.APIKey.UpdateOneID(k.ID).SetLastUsedAt(d.now()).Exec(ctx); err != nil {
			d.Log.WarnContext(ctx, "note key's use", "key", k.ID, "error", err)
		}
	}
	return v, err
}

func (d *Desk) viewerOfKeyRow(ctx context.Context, k *ent.APIKey) (*viewer.Viewer, error) {
	app := k.Edges.App
	if k.RevokedAt != nil || app == nil || !app.Enabled || k.ExpiresAt != nil && !k.ExpiresAt.After(d.Now()) {
		return nil, ErrUnauthenticated
	}
	withheld, err := restrictedTo(ctx, d.db, k.WorkspaceID, nil) // a program belongs to no team
	if err != nil {
		return nil, err
	}
	kind := viewer.KindApp
	if k.Kind == apikey.KindBI {
		kind = viewer.KindBI
	}
	return &viewer.Viewer{Kind: kind, Workspace: k.WorkspaceID, Actor: app.ID, Token: k.ID, Scopes: append([]viewer.Scope{viewer.Self}, k.Scopes...), Reach: viewer.ReachAll, Withheld: withheld}, nil
}

func (d *Desk) viewerOfVisitor(ctx context.Context, id gid.ID) (*viewer.Viewer, error) {
	s, err := d.db.VisitorSession.Query().Where(visitorsession.ID(id)).WithIdentity().Only(ctx)
	if err != nil {
		return nil, gone(err)
	}
	if s.RevokedAt != nil {
		return nil, ErrUnauthenticated
	}
	return &viewer.Viewer{
		Kind: viewer.KindCustomer, Workspace: s.WorkspaceID, Actor: s.Edges.Identity.CustomerID, Token: id,
		Scopes: []viewer.Scope{viewer.Visitor}, Identity: s.IdentityID, Channel: s.ChannelID,
	}, nil
}

// Login is what a login gives.
type Login struct {
	Session          gid.ID
	Access, Refresh  string
	AccessExpiresAt  time.Time
	RefreshExpiresAt time.Time
}

// limited refuses when the key's budget of tries is used up.
func (d *Desk) limited(ctx context.Context, key string, burst int, over time.Duration) error {
	r, err := d.Limiter.Take(ctx, key, 1, limit.Rate{Burst: burst, PerSecond: float64(burst) / over.Seconds()})
	if err != nil {
		return fmt.Errorf("take from limit: %w", err)
	}
	if !r.OK {
		return &Refusal{Code: LimitReached, Message: "too many tries: wait a moment", Retryable: true}
	}
	return nil
}

// CreateSession logs an agent in. Unknown and wrong give the same answer after the same work.
func (d *Desk) CreateSession(ctx context.Context, in SessionInput, remote string) (Login, error) {
	mail := normalMail(in.Email)
	for _, key := range []string{"login|" + remote, "login|" + crypt.Current().Blind([16]byte{}, "login", mail)} {
		if err := d.limited(ctx, key, d.LoginsPerFiveMinutes, 5*time.Minute); err != nil {
			return Login{}, err
		}
	}
	a, err := d.agentByMail(within(viewer.Global(ctx)), mail, in.Password)
	if err != nil {
		return Login{}, err
	}
	if a == nil {
		return Login{}, refuse(LoginFailed, "unknown login or wrong password")
	}
	return d.openSession(viewer.System(ctx, a.WorkspaceID), a.ID, in.Client)
}

// agentByMail tries the password at the agents of all workspaces with this address: a login names no workspace. Nobody
// there costs as much as somebody.
func (d *Desk) agentByMail(ctx context.Context, mail, password string) (*ent.Agent, error) {
	spaces, err := d.db.Workspace.Query().IDs(ctx)
	if err != nil {
		return nil, fmt.Errorf("read workspaces: %w", err)
	}
	shadows := make([]string, len(spaces))
	for n, ws := range spaces {
		shadows[n] = mailShadow(ws, mail)
	}
	found, err := d.db.Agent.Query().Where(agent.EmailBlindIn(shadows...), agent.Active(true), agent.PasswordHashNotNil()).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("find agent: %w", err)
	}
	if len(found) == 0 {
		crypt.BurnPassword(password)
		return nil, nil
	}
	for _, a := range found {
		if crypt.CheckPassword(*a.PasswordHash, password) {
			return a, nil
		}
	}
	return nil, nil
}

func (d *Desk) openSession(ctx context.Context, agentID gid.ID, client string) (Login, error) {
	id := gid.Make(gid.Session)
	secret, hash, err := d.refreshToken(viewer.From(ctx).Workspace, id)
	if err != nil {
		return Login{}, err
	}
	var out Login
	err = d.do(ctx, nil, func(ctx context.Context, w *work) error {
		until := w.at.Add(auth.RefreshLife)
		s, err := w.tx.Session.Create().SetID(id).SetAgentID(agentID).SetClient(shortText(client)).SetRefreshHash(hash[:]).SetCreatedAt(w.at).SetLastSeenAt(w.at).SetExpiresAt(until).Save(ctx)
		if err != nil {
			return fmt.Errorf("write session: %w", err)
		}
		out = Login{Session: s.ID, Refresh: secret, RefreshExpiresAt: until}
		out.Access, out.AccessExpiresAt, err = d.Tokens.Sign(auth.Claims{Kind: auth.Agent, Workspace: s.WorkspaceID, Session: s.ID}, auth.AccessLife)
		return err
	})
	return out, err
}

// refreshToken makes the next token of a session. It is signed, so that a used one of any age is known as ours; only the
// hash of the newest is stored.
func (d *Desk) refreshToken(workspace, id gid.ID) (string, [32]byte, error) {
	t, _, err := d.Tokens.Sign(auth.Claims{Kind: auth.Refresh, Workspace: workspace, Session: id}, auth.RefreshLife)
	return t, crypt.HashToken(t), err
}

// RefreshSession exchanges a refresh token for the next pair. One that was used before ends the session: somebody else
// has it.
func (d *Desk) RefreshSession(ctx context.Context, secret string) (Login, error) {
	failed := refuse(LoginFailed, "the refresh token is unusable", "refreshToken")
	c, err := d.Tokens.Parse(secret)
	if err != nil || c.Kind != auth.Refresh {
		return Login{}, failed
	}
	old := crypt.HashToken(secret)
	global := within(viewer.Global(ctx))
	s, err := d.db.Session.Query().Where(session.ID(c.Session), session.RevokedAtIsNil()).Only(global)
	if ent.IsNotFound(err) {
		return Login{}, failed
	}
	if err != nil {
		return Login{}, fmt.Errorf("find session: %w", err)
	}
	if !slices.Equal(s.RefreshHash, old[:]) { // we signed it once, and it was used: somebody else has it
		if _, err := d.revokeSession(viewer.System(ctx, s.WorkspaceID), s.ID); err != nil {
			return Login{}, err
		}
		return Login{}, failed
	}
	if _, err := d.viewerOfSession(global, s.ID); err != nil {
		return Login{}, failed
	}
	out := Login{Session: s.ID}
	var hash [32]byte
	if out.Refresh, hash, err = d.refreshToken(s.WorkspaceID, s.ID); err != nil {
		return Login{}, err
	}
	err = d.do(viewer.System(ctx, s.WorkspaceID), nil, func(ctx context.Context, w *work) error {
		out.RefreshExpiresAt = w.at.Add(auth.RefreshLife)
		n, err := w.tx.Session.Update().Where(session.ID(s.ID), session.RefreshHash(old[:])).SetRefreshHash(hash[:]).
			SetLastSeenAt(w.at).SetExpiresAt(out.RefreshExpiresAt).Save(ctx)
		if err == nil && n == 0 {
			return failed // two refreshed at once: the other one has it
		}
		return err
	})
	if err != nil {
		return Login{}, err
	}
	out.Access, out.AccessExpiresAt, err = d.Tokens.Sign(auth.Claims{Kind: auth.Agent, Workspace: s.WorkspaceID, Session: s.ID}, auth.AccessLife)
	return out, err
}

// EndSession ends a session and cuts its sockets.
func (d *Desk) EndSession(ctx context.Context, id *gid.ID, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.Self); err != nil {
		return gid.ID{}, err
	}
	v := viewer.From(ctx)
	which := v.Token
	if id != nil {
		which = *id
	}
	return d.once(ctx, key, []any{"sessionEnd", which}, func(ctx context.Context, w *work) (gid.ID, error) {
		s, err := w.tx.Session.Get(ctx, which) // others' sessions are out of sight without PEOPLE_WRITE
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("session", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read session: %w", err)
		}
		d.viewer.drop(which)
		return which, w.tx.Session.UpdateOneID(s.ID).SetRevokedAt(w.at).Exec(ctx)
	})
}

func (d *Desk) revokeSession(ctx context.Context, id gid.ID) (gid.ID, error) {
	err := d.do(ctx, nil, func(ctx context.Context, w *work) error {
		return w.tx.Session.UpdateOneID(id).SetRevokedAt(w.at).Exec(ctx)
	})
	d.viewer.drop(id)
	return id, err
}

func normalMail(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
