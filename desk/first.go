package desk

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"

	"tributary/channels"
	"tributary/ent/agentstatus"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// First is what the very first start made, for a newcomer to paste.
type First struct {
	Email, Password string
	Site            string // public key of a web chat; empty if this build has no surface
}

const firstEmail = "admin@example.com"

// Begin makes a workspace with an admin and a site when the database has none, by the operations that the API has. nil:
// there was one, or another node was first.
func (d *Desk) Begin(ctx context.Context) (*First, error) {
	there, err := d.db.Workspace.Query().Exist(within(viewer.Global(ctx)))
	if err != nil || there {
		return nil, err
	}
	operator := viewer.With(ctx, &viewer.Viewer{Kind: viewer.KindSystem, Scopes: []viewer.Scope{viewer.SystemAdmin}})
	key := "first-workspace" // nodes that start together make one
	made, err := d.CreateWorkspace(operator, WorkspaceInput{Name: "My desk", AdminName: "Admin", AdminEmail: firstEmail}, &key)
	if err != nil || made.Secret == "" {
		return nil, err
	}
	password, err := readablePassword()
	if err != nil {
		return nil, err
	}
	login, err := d.AcceptInvitation(ctx, made.Secret, password, "first start", "")
	if err != nil {
		return nil, err
	}
	v, err := d.Authenticate(ctx, login.Access)
	if err != nil {
		return nil, err
	}
	admin := viewer.With(ctx, v)
	if _, err := d.SetStatus(admin, nil, AgentStatusInput{State: agentstatus.StateAVAILABLE}, nil); err != nil {
		return nil, err
	}
	site, err := d.firstSite(admin)
	return &First{firstEmail, password, site}, err
}

// firstSite makes a channel of the first kind that is a surface of our own and needs no settings.
func (d *Desk) firstSite(ctx context.Context) (string, error) {
	for _, k := range channels.Kinds() {
		s, err := d.checkConfig(k, json.RawMessage("{}"), secretSet{})
		if err != nil || !s.surface {
			continue
		}
		id, err := d.CreateChannel(ctx, ChannelCreateInput{Kind: k.Name, Name: "Website", Config: json.RawMessage("{}")}, nil)
		if err != nil {
			return "", err
		}
		return d.publicKey(ctx, id)
	}
	return "", nil
}

func (d *Desk) publicKey(ctx context.Context, id gid.ID) (string, error) {
	row, err := d.db.Channel.Get(within(ctx), id)
	if err != nil {
		return "", fmt.Errorf("read channel: %w", err)
	}
	return row.PublicKey, nil
}

// readablePassword is of 80 random bits, in groups that can be typed.
func readablePassword() (string, error) {
	raw := make([]byte, 10)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make a password: %w", err)
	}
	s := strings.ToLower(base32.StdEncoding.EncodeToString(raw))
	return s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:], nil
}
