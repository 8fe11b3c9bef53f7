package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// login is a person's who can log in.
type login struct {
	name, email, password string
	tongue                *tongue
}

// site is a web chat.
type site struct {
	key    string // public
	secret string // signs who a visitor is
}

// shop is the seeded workspace, as those who live in it know it.
type shop struct {
	door   *client // without a token
	book   *ledger
	admin  login
	humans []login // for those who watch
	clerks []login // simulated
	sites  map[*tongue]site
	hooks  map[*tongue]*hook
}

// seeder makes the workspace step by step.
type seeder struct {
	*ledger
	door, admin *client
}

const madeFields = "{ it: %s { id } userErrors { code message retryable } }"

// seed makes what is missing, and gives the whole.
func seed(ctx context.Context, book *ledger, url, token string, b *bridge, clerks int) (*shop, error) {
	door := &client{url: url, http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute}}}
	s := &seeder{ledger: book, door: door}
	out := &shop{door: door, book: book, sites: map[*tongue]site{}, hooks: map[*tongue]*hook{}}
	var err error
	if out.admin, err = s.workspace(ctx, token); err != nil {
		return nil, err
	}
	role, err := s.role(ctx, "agent")
	if err != nil {
		return nil, err
	}
	profile, err := s.step(ctx, "profile", "capacityProfileCreate", "CapacityProfileCreateInput", "capacityProfile", vars{
		"name": "Chat and messages", "units": 5,
		"rules": []vars{{"channelKind": "webchat", "unitsEach": 1, "maxAtOnce": 3}, {"channelKind": "custom", "unitsEach": 1, "maxAtOnce": 5}},
	})
	if err != nil {
		return nil, err
	}
	for _, t := range tongues {
		team, err := s.side(ctx, t, b, out)
		if err != nil {
			return nil, err
		}
		human, err := s.agent(ctx, login{name: t.human, email: t.mail, tongue: t}, role, profile, team)
		if err != nil {
			return nil, err
		}
		out.humans = append(out.humans, human)
	}
	for n := range clerks {
		t := tongues[n%len(tongues)]
		l, err := s.agent(ctx, clerkOf(t, n), role, profile, s.Done["team "+t.locale])
		if err != nil {
			return nil, err
		}
		out.clerks = append(out.clerks, l)
	}
	return out, nil
}

// step makes one thing once. The ledger remembers it for ever, the service its key for two days.
func (s *seeder) step(ctx context.Context, name, mutation, input, field string, in vars) (string, error) {
	if id := s.Done[name]; id != "" {
		return id, nil
	}
	var out struct {
		Made struct{ It struct{ ID string } }
	}
	query := fmt.Sprintf("mutation($i: %s!, $k: Key!) { made: %s(input: $i, idempotencyKey: $k) "+madeFields+" }", input, mutation, field)
	if err := s.admin.do(ctx, query, vars{"i": in, "k": s.Nonce + "/" + name}, &out); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	s.Done[name] = out.Made.It.ID
	return out.Made.It.ID, s.save()
}

// workspace makes the workspace with its admin, or logs him in.
func (s *seeder) workspace(ctx context.Context, token string) (login, error) {
	l := login{name: "Admin", email: "admin@demo.example", tongue: tongues[0]}
	var err error
	if l.password, err = s.password(l.email); err != nil {
		return l, err
	}
	if !s.Joined[l.email] {
		var out struct{ Made struct{ Secret string } }
		err := s.door.with(token).do(ctx, `mutation($i: WorkspaceInput!, $k: Key!) { made: workspaceCreate(input: $i, idempotencyKey: $k) {
			secret userErrors { code message retryable } } }`,
			vars{"i": vars{"name": "Harbour Goods 海港百货", "adminName": l.name, "adminEmail": l.email}, "k": s.Nonce + "/workspace"}, &out)
		if err != nil {
			return l, fmt.Errorf("workspace: %w", err)
		}
		if out.Made.Secret != "" {
			if err := s.join(ctx, l, out.Made.Secret); err != nil {
				return l, err
			}
		}
	}
	// Joined before, or in a start that was killed before it could note so.
	if s.admin, err = s.door.login(ctx, l.email, l.password); err != nil {
		var no *refusal
		if errors.As(err, &no) && no.Code == "LOGIN_FAILED" {
			return l, errors.New("the database does not hold the workspace of the demo's ledger: start again with --fresh")
		}
		return l, fmt.Errorf("log in as admin: %w", err)
	}
	return l, nil
}

// join accepts an invitation.
func (s *seeder) join(ctx context.Context, l login, secret string) error {
	err := s.door.ask(ctx, `mutation($s: String!, $p: String!) { made: invitationAccept(secret: $s, password: $p, client: "demo") { userErrors { code message retryable } } }`,
		vars{"s": secret, "p": l.password}, nil)
	if err != nil {
		return fmt.Errorf("accept the invitation of %s: %w", l.email, err)
	}
	s.Joined[l.email] = true
	return s.save()
}

func (s *seeder) role(ctx context.Context, name string) (string, error) {
	var out struct {
		Roles struct {
			Nodes []struct{ ID, Name string }
		}
	}
	if err := s.admin.ask(ctx, `{ roles(first: 50) { nodes { id name } } }`, nil, &out); err != nil {
		return "", fmt.Errorf("read roles: %w", err)
	}
	for _, r := range out.Roles.Nodes {
		if r.Name == name {
			return r.ID, nil
		}
	}
	return "", fmt.Errorf("there is no role %q", name)
}

// side makes what one language has: a team, a queue, a web chat, a bridge. It gives the team.
func (s *seeder) side(ctx context.Context, t *tongue, b *bridge, out *shop) (string, error) {
	team, err := s.step(ctx, "team "+t.locale, "teamCreate", "TeamCreateInput", "team", vars{"name": t.team})
	if err != nil {
		return "", err
	}
	queue, err := s.step(ctx, "queue "+t.locale, "queueCreate", "QueueCreateInput", "queue", vars{
		"name": t.queue, "teamId": team, "offerSeconds": 25, "stickySeconds": 900, "pauseAfterReplySeconds": 300, "breakAfterMisses": 3,
	})
	if err != nil {
		return "", err
	}
	if err := s.webchat(ctx, t, queue, out); err != nil {
		return "", err
	}
	return team, s.custom(ctx, t, queue, b, out)
}

func (s *seeder) webchat(ctx context.Context, t *tongue, queue string, out *shop) error {
	name := "site " + t.locale
	secret, err := s.secret(name)
	if err != nil {
		return err
	}
	id, err := s.step(ctx, name, "channelCreate", "ChannelCreateInput", "channel", vars{
		"kind": "webchat", "name": t.site, "queueId": queue, "locale": t.locale,
		"config":  vars{"greeting": t.greeting, "locales": []string{t.locale}},
		"secrets": []vars{{"name": "identitySecret", "value": secret}},
	})
	if err != nil {
		return err
	}
	ch, err := s.channel(ctx, id)
	out.sites[t] = site{key: ch.Address, secret: secret}
	return err
}

// custom makes the channel of the bridge, and tells it where the bridge listens this time.
func (s *seeder) custom(ctx context.Context, t *tongue, queue string, b *bridge, out *shop) error {
	name := "bridge " + t.locale
	secret, err := s.secret(name)
	if err != nil {
		return err
	}
	id, err := s.step(ctx, name, "channelCreate", "ChannelCreateInput", "channel", vars{
		"kind": "custom", "name": t.bridge, "queueId": queue, "locale": t.locale, "config": vars{},
		"secrets": []vars{{"name": "signingSecret", "value": secret}},
	})
	if err != nil {
		return err
	}
	config := vars{
		"callbackUrl": b.callback(t), "idempotent": true, "deliveryReceipts": true, "readReceipts": true,
		"attachments": []vars{{"kind": "image", "maxBytes": 5 << 20}},
	}
	err = s.admin.do(ctx, `mutation($id: ID!, $i: ChannelUpdateInput!, $k: Key!) { made: channelUpdate(id: $id, input: $i, idempotencyKey: $k) { userErrors { code message retryable } } }`,
		vars{"id": id, "i": vars{"config": config}, "k": fmt.Sprintf("%s/%s/%d", s.Nonce, name, s.Starts)}, nil)
	if err != nil {
		return fmt.Errorf("set up %s: %w", name, err)
	}
	ch, err := s.channel(ctx, id)
	if err != nil {
		return err
	}
	out.hooks[t] = b.join(t, ch.WebhookURL, secret)
	return nil
}

type channelRow struct{ Address, WebhookURL string }

func (s *seeder) channel(ctx context.Context, id string) (channelRow, error) {
	var out struct{ Channel channelRow }
	if err := s.admin.ask(ctx, `query($id: ID!) { channel(id: $id) { address webhookUrl } }`, vars{"id": id}, &out); err != nil {
		return channelRow{}, fmt.Errorf("read channel: %w", err)
	}
	return out.Channel, nil
}

// agent makes an agent with a password.
func (s *seeder) agent(ctx context.Context, l login, role, profile, team string) (login, error) {
	var err error
	if l.password, err = s.password(l.email); err != nil {
		return l, err
	}
	id, err := s.step(ctx, "agent "+l.email, "agentCreate", "AgentCreateInput", "agent", vars{
		"displayName": l.name, "email": l.email, "roleId": role, "locale": l.tongue.locale, "teamIds": []string{team}, "capacityProfileId": profile,
	})
	if err != nil || s.Joined[l.email] {
		return l, err
	}
	// No key: an invitation is shown once, and a new one ends the one before it.
	var out struct{ Made struct{ Secret string } }
	err = s.admin.ask(ctx, `mutation($id: ID!) { made: agentInvite(id: $id) { secret userErrors { code message retryable } } }`, vars{"id": id}, &out)
	if err != nil {
		return l, fmt.Errorf("invite %s: %w", l.email, err)
	}
	return l, s.join(ctx, l, out.Made.Secret)
}
