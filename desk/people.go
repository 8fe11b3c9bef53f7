package desk

import (
	"context"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/agentstatus"
	"tributary/ent/capacityprofile"
	"tributary/ent/role"
	"tributary/ent/schema"
	"tributary/ent/session"
	"tributary/ent/team"
	"tributary/ent/teammember"
	"tributary/internal/clean"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/personal"
	"tributary/internal/viewer"
)

// builtInRoles come with every workspace.
var builtInRoles = []struct {
	name, description string
	reach             role.Reach
	shown             []string
	scopes            []viewer.Scope
}{
	{"agent", "Serves customers.", role.ReachTEAMS, []string{"NAME"}, []viewer.Scope{
		viewer.Self, viewer.CustomerRead, viewer.CustomerWrite, viewer.ConversationRead, viewer.ConversationWrite, viewer.CallControl,
	}},
	{"supervisor", "Serves, and acts on what others serve.", role.ReachTEAMS, []string{"NAME", "PHONE", "EMAIL"}, []viewer.Scope{
		viewer.Self, viewer.CustomerRead, viewer.CustomerWrite, viewer.ConversationRead, viewer.ConversationWrite, viewer.CallControl, viewer.RecordingRead, viewer.Supervise,
		viewer.RoutingRead, viewer.PeopleRead, viewer.ChannelRead, viewer.MetricRead,
	}},
	{"admin", "Sets everything up.", role.ReachALL, []string{"NAME", "PHONE", "EMAIL", "EXTERNAL_ID"}, []viewer.Scope{
		viewer.Self, viewer.CustomerRead, viewer.CustomerWrite, viewer.ConversationRead, viewer.ConversationWrite, viewer.CallControl, viewer.RecordingRead, viewer.Supervise,
		viewer.RoutingRead, viewer.RoutingWrite, viewer.PeopleRead, viewer.PeopleWrite, viewer.ChannelRead, viewer.ChannelWrite,
		viewer.MetricRead, viewer.SettingRead, viewer.SettingWrite, viewer.APIWrite,
	}},
	{"bi", "Reads for reports.", role.ReachALL, nil, []viewer.Scope{
		viewer.Self, viewer.CustomerRead, viewer.ConversationRead, viewer.RoutingRead, viewer.PeopleRead, viewer.ChannelRead, viewer.MetricRead,
	}},
}

func mailShadow(workspace gid.ID, mail string) string {
	return personal.Blind(workspace, "agent.email", mail)
}

func checkName(name string, field ...string) (string, error) {
	n := clean.Line(name, 200)
	if strings.TrimSpace(n) == "" {
		return "", refuse(Required, "a name is needed", field...)
	}
	return n, nil
}

func checkMail(s string, field ...string) (string, error) {
	m := normalMail(s)
	if a, err := mail.ParseAddress(m); err != nil || a.Address != m {
		return "", refuse(Invalid, "this is no mail address", field...)
	}
	return m, nil
}

// NewWorkspace is the outcome of CreateWorkspace. Secret is the admin's invitation; empty on a repeat.
type NewWorkspace struct {
	Workspace, Admin gid.ID
	Secret           string
}

// CreateWorkspace makes a workspace with its roles, profile, default queue and first admin. The operator alone may.
func (d *Desk) CreateWorkspace(ctx context.Context, in WorkspaceInput, key *string) (NewWorkspace, error) {
	if v := viewer.From(ctx); v == nil {
		return NewWorkspace{}, viewer.ErrNone
	} else if !slices.Contains(v.Scopes, viewer.SystemAdmin) {
		return NewWorkspace{}, &Forbidden{viewer.SystemAdmin}
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return NewWorkspace{}, err
	}
	admin, err := checkName(in.AdminName, "input", "adminName")
	if err != nil {
		return NewWorkspace{}, err
	}
	address, err := checkMail(in.AdminEmail, "input", "adminEmail")
	if err != nil {
		return NewWorkspace{}, err
	}
	zone := deref(in.TimeZone, "UTC")
	if err := checkZone(zone); err != nil {
		return NewWorkspace{}, err
	}
	var out NewWorkspace
	id, fresh, err := d.onceFresh(ctx, key, []any{"workspaceCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		ws, err := w.tx.Workspace.Create().SetName(name).SetLocale(deref(in.Locale, "en")).SetTimeZone(zone).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write workspace: %w", err)
		}
		adminID, secret, err := w.furnish(within(viewer.System(ctx, ws.ID)), ws, admin, address)
		out.Admin, out.Secret = adminID, secret
		return ws.ID, err
	})
	out.Workspace = id
	if err != nil || fresh {
		return out, err
	}
	out.Secret = ""
	out.Admin, err = d.db.Agent.Query().Order(ent.Asc(agent.FieldID)).FirstID(within(viewer.System(ctx, id)))
	return out, err
}

// furnish fills a new workspace.
func (w *work) furnish(ctx context.Context, ws *ent.Workspace, admin, address string) (gid.ID, string, error) {
	roles := map[string]gid.ID{}
	for _, r := range builtInRoles {
		row, err := w.tx.Role.Create().SetName(r.name).SetDescription(r.description).SetScopes(r.scopes).SetReach(r.reach).SetPersonalShown(orEmpty(r.shown)).SetBuiltIn(true).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, "", fmt.Errorf("write role: %w", err)
		}
		roles[r.name] = row.ID
	}
	if _, err := w.tx.CapacityProfile.Create().SetName("default").SetUnits(4).SetRules([]schema.CapacityRule{}).SetBuiltIn(true).SetCreatedAt(w.at).Save(ctx); err != nil {
		return gid.ID{}, "", fmt.Errorf("write profile: %w", err)
	}
	for key := range builtInReasons {
		if _, err := w.builtInReason(ctx, key); err != nil {
			return gid.ID{}, "", err
		}
	}
	q, err := w.tx.Queue.Create().SetName("default").SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return gid.ID{}, "", fmt.Errorf("write queue: %w", err)
	}
	if err := w.tx.Workspace.UpdateOneID(ws.ID).SetDefaultQueueID(q.ID).Exec(ctx); err != nil {
		return gid.ID{}, "", fmt.Errorf("write workspace: %w", err)
	}
	a, err := w.newAgent(ctx, AgentCreateInput{DisplayName: admin, Email: address, RoleID: roles["admin"]})
	if err != nil {
		return gid.ID{}, "", err
	}
	secret, err := w.invite(ctx, a.ID)
	return a.ID, secret, err
}

// newAgent writes an agent with what he carries and his first status.
func (w *work) newAgent(ctx context.Context, in AgentCreateInput) (*ent.Agent, error) {
	profile, err := w.profile(ctx, in.CapacityProfileID)
	if err != nil {
		return nil, err
	}
	a, err := w.tx.Agent.Create().SetDisplayName(in.DisplayName).SetEmail(personal.Of(in.Email)).SetRoleID(in.RoleID).SetNillableLocale(in.Locale).
		SetCapacityProfileID(profile).SetCreatedAt(w.at).Save(ctx)
	if err != nil { // what broke a constraint, the next try finds and names
		return nil, fmt.Errorf("write agent: %w", err)
	}
	if err := w.tx.AgentLoad.Create().SetAgentID(a.ID).SetIdleSince(w.at).Exec(ctx); err != nil {
		return nil, fmt.Errorf("write agent's load: %w", err)
	}
	if err := w.setStatus(ctx, a.ID, agentstatus.StateOFFLINE, nil); err != nil {
		return nil, err
	}
	if err := w.join(ctx, a.ID, in.TeamIds); err != nil {
		return nil, err
	}
	if len(in.Skills) > 0 {
		if err := w.setSkills(ctx, a.ID, in.Skills); err != nil {
			return nil, err
		}
	}
	w.emit(fact{typ: AgentUpdated, subject: a.ID, version: a.Version, agent: a.ID})
	return a, nil
}

func (w *work) profile(ctx context.Context, id *gid.ID) (gid.ID, error) {
	q := w.tx.CapacityProfile.Query()
	if id != nil {
		q.Where(capacityprofile.ID(*id))
	} else {
		q.Where(capacityprofile.BuiltIn(true))
	}
	got, err := q.FirstID(ctx)
	if ent.IsNotFound(err) {
		return got, notFound("capacity profile", "input", "capacityProfileId")
	}
	return got, err
}

// join makes the teams of an agent exactly these.
func (w *work) join(ctx context.Context, agentID gid.ID, teams []gid.ID) error {
	teams = unique(slices.Clone(teams))
	n, err := w.tx.Team.Query().Where(team.IDIn(teams...)).Count(ctx)
	if err != nil {
		return fmt.Errorf("read teams: %w", err)
	}
	if n != len(teams) {
		return notFound("team", "input", "teamIds")
	}
	var there []gid.ID
	if err := w.tx.TeamMember.Query().Where(teammember.AgentID(agentID)).Select(teammember.FieldTeamID).Scan(ctx, &there); err != nil {
		return fmt.Errorf("read teams: %w", err)
	}
	for _, t := range teams {
		if !slices.Contains(there, t) {
			if err := givenTeam(ctx, t, "input", "teamIds"); err != nil {
				return err
			}
		}
	}
	if _, err := w.tx.TeamMember.Delete().Where(teammember.AgentID(agentID), teammember.TeamIDNotIn(teams...)).Exec(ctx); err != nil {
		return fmt.Errorf("leave teams: %w", err)
	}
	for _, t := range teams {
		err := w.tx.TeamMember.Create().SetAgentID(agentID).SetTeamID(t).
			OnConflictColumns(teammember.FieldWorkspaceID, teammember.FieldTeamID, teammember.FieldAgentID).DoNothing().Exec(ctx)
		if err != nil && !isNoRows(err) {
			return fmt.Errorf("join team: %w", err)
		}
	}
	return nil
}

// givenTeam: whose own sight ends at his teams gives no sight of others.
func givenTeam(ctx context.Context, id gid.ID, field ...string) error {
	v := viewer.From(ctx)
	if v.Kind != viewer.KindAgent || v.Reach == viewer.ReachAll || slices.Contains(v.Teams, id) {
		return nil
	}
	return refuse(NotAllowed, "you cannot give a team that is not yours", field...)
}

// CreateAgent makes an agent who cannot log in yet.
func (d *Desk) CreateAgent(ctx context.Context, in AgentCreateInput, key *string) (id gid.ID, err error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return id, err
	}
	hashed := []any{"agentCreate", in}
	if in.DisplayName, err = checkName(in.DisplayName, "input", "displayName"); err != nil {
		return id, err
	}
	if in.Email, err = checkMail(in.Email, "input", "email"); err != nil {
		return id, err
	}
	return d.once(ctx, key, hashed, func(ctx context.Context, w *work) (gid.ID, error) {
		if err := w.givenRole(ctx, in.RoleID); err != nil {
			return gid.ID{}, err
		}
		there, err := w.tx.Agent.Query().Where(agent.EmailBlind(mailShadow(viewer.From(ctx).Workspace, in.Email))).Exist(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("find agent: %w", err)
		}
		if there {
			return gid.ID{}, refuse(Duplicate, "an agent with this address exists", "input", "email")
		}
		a, err := w.newAgent(ctx, in)
		if err != nil {
			return gid.ID{}, err
		}
		return a.ID, nil
	})
}

// UpdateAgent changes an agent. One who is switched off loses his sessions and his work.
func (d *Desk) UpdateAgent(ctx context.Context, id gid.ID, in AgentUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	defer d.viewer.clear()
	return d.once(ctx, key, []any{"agentUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		change := func() (gid.ID, error) { return w.updateAgent(ctx, id, in, ifVersion) }
		if in.RoleID == nil && deref(in.Active, true) {
			return change()
		}
		return w.keepsHolders(ctx, change)
	})
}

func (w *work) updateAgent(ctx context.Context, id gid.ID, in AgentUpdateInput, ifVersion *int) (gid.ID, error) {
	a, err := w.tx.Agent.Get(ctx, id)
	if ent.IsNotFound(err) {
		return gid.ID{}, notFound("agent", "id")
	}
	if err != nil {
		return gid.ID{}, fmt.Errorf("read agent: %w", err)
	}
	if err := fits(a.Version, ifVersion); err != nil {
		return id, err
	}
	if err := w.outranks(ctx, a); err != nil {
		return id, err
	}
	u := w.tx.Agent.UpdateOneID(id).Where(agent.Version(a.Version)).AddVersion(1).SetUpdatedAt(w.at)
	if err := w.agentChanges(ctx, u, id, in); err != nil {
		return id, err
	}
	n, err := u.Save(ctx)
	if ent.IsNotFound(err) {
		return id, refuse(StaleVersion, "somebody changed it meanwhile", "ifVersion")
	}
	if err != nil {
		return gid.ID{}, fmt.Errorf("save agent: %w", err)
	}
	w.emit(fact{typ: AgentUpdated, subject: id, version: n.Version, agent: id})
	if a.Active && !n.Active {
		return id, w.dismiss(ctx, id)
	}
	return id, nil
}

func (w *work) agentChanges(ctx context.Context, u *ent.AgentUpdateOne, id gid.ID, in AgentUpdateInput) error {
	if in.DisplayName != nil {
		n, err := checkName(*in.DisplayName, "input", "displayName")
		if err != nil {
			return err
		}
		u.SetDisplayName(n)
	}
	if in.RoleID != nil {
		if err := w.givenRole(ctx, *in.RoleID); err != nil {
			return err
		}
		u.SetRoleID(*in.RoleID)
	}
	if in.CapacityProfileID != nil {
		p, err := w.profile(ctx, in.CapacityProfileID)
		if err != nil {
			return err
		}
		u.SetCapacityProfileID(p)
	}
	if in.Active != nil {
		u.SetActive(*in.Active)
	}
	if in.Locale.Set {
		u.SetNillableLocale(in.Locale.V)
		if in.Locale.V == nil {
			u.ClearLocale()
		}
	}
	if in.Skills != nil {
		if err := w.setSkills(ctx, id, *in.Skills); err != nil {
			return err
		}
	}
	if in.TeamIds != nil {
		return w.join(ctx, id, *in.TeamIds)
	}
	return nil
}

// dismiss ends what a switched-off agent still has, but for his work: that is returned after the commit.
func (w *work) dismiss(ctx context.Context, id gid.ID) error {
	if err := w.tx.Session.Update().Where(session.AgentID(id), session.RevokedAtIsNil()).SetRevokedAt(w.at).Exec(ctx); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	sys := asSystem(ctx)
	if err := w.setStatus(sys, id, agentstatus.StateOFFLINE, nil); err != nil {
		return err
	}
	_, _, err := jobs.Enqueue(ctx, w.tx, jobs.New{Kind: jobDismiss, Unique: id.String(), Args: dismissArgs{id}, Subject: id})
	return err
}

type dismissArgs struct {
	Agent gid.ID `json:"agent"`
}

// takeAll is the job that returns the work of an agent who was switched off.
func (d *Desk) takeAll(ctx context.Context, c *jobs.Claim) error {
	var args dismissArgs
	if err := c.Decode(&args); err != nil {
		return jobs.Permanent(err)
	}
	return d.agentLost(ctx, args.Agent, "the agent was switched off", callsGo)
}

// invitationLife is how long an invitation can be accepted.
const invitationLife = 7 * 24 * time.Hour

// InviteAgent makes a new invitation; the one before it ends. The secret is empty on a repeat.
func (d *Desk) InviteAgent(ctx context.Context, id gid.ID, key *string) (gid.ID, string, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, "", err
	}
	secret := ""
	out, fresh, err := d.onceFresh(ctx, key, []any{"agentInvite", id}, func(ctx context.Context, w *work) (gid.ID, error) {
		a, err := w.tx.Agent.Query().Where(agent.ID(id), agent.Active(true)).Only(ctx)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("agent", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read agent: %w", err)
		}
		if err := w.outranks(ctx, a); err != nil {
			return gid.ID{}, err
		}
		secret, err = w.invite(ctx, id)
		return id, err
	})
	if !fresh {
		secret = ""
	}
	return out, secret, err
}

func (w *work) invite(ctx context.Context, id gid.ID) (string, error) {
	secret, hash := crypt.Token(prefixInvitation)
	err := w.tx.Agent.UpdateOneID(id).SetInvitationHash(hash[:]).SetInvitationUntil(w.at.Add(invitationLife)).Exec(ctx)
	if err != nil {
		return "", fmt.Errorf("write invitation: %w", err)
	}
	return secret, w.agentsChanged(ctx, []gid.ID{id}, "invitedUntil")
}

// RevokeInvitation ends the open invitation of an agent.
func (d *Desk) RevokeInvitation(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"invitationRevoke", id}, func(ctx context.Context, w *work) (gid.ID, error) {
		n, err := w.tx.Agent.Update().Where(agent.ID(id), agent.InvitationHashNotNil()).ClearInvitationHash().ClearInvitationUntil().Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("end invitation: %w", err)
		}
		if n > 0 {
			return id, w.agentsChanged(ctx, []gid.ID{id}, "invitedUntil")
		}
		there, err := w.tx.Agent.Query().Where(agent.ID(id)).Exist(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("read agent: %w", err)
		}
		if !there {
			return gid.ID{}, notFound("agent", "id")
		}
		return id, refuse(WrongState, "no invitation is open", "id")
	})
}

// AcceptInvitation sets a password and logs in. An invitation works once.
func (d *Desk) AcceptInvitation(ctx context.Context, secret, password, client, remote string) (Login, error) {
	if err := d.limited(ctx, "invitation|"+remote, 20*d.LoginsPerFiveMinutes, 5*time.Minute); err != nil {
		return Login{}, err
	}
	if n := len([]rune(password)); n < 10 || len(password) > 1000 {
		return Login{}, refuse(Invalid, "a password has at least 10 characters", "password")
	}
	failed := refuse(LoginFailed, "the invitation is unusable", "secret")
	if !crypt.CheckToken(prefixInvitation, secret) {
		return Login{}, failed
	}
	hash := crypt.HashToken(secret)
	a, err := d.db.Agent.Query().Where(agent.InvitationHash(hash[:]), agent.Active(true), agent.InvitationUntilGT(d.now())).Only(within(viewer.Global(ctx)))
	if ent.IsNotFound(err) {
		return Login{}, failed
	}
	if err != nil {
		return Login{}, fmt.Errorf("find invitation: %w", err)
	}
	sealed, err := crypt.HashPassword(password)
	if err != nil {
		return Login{}, fmt.Errorf("hash password: %w", err)
	}
	sys := viewer.System(ctx, a.WorkspaceID)
	err = d.do(sys, nil, func(ctx context.Context, w *work) error {
		n, err := w.tx.Agent.Update().Where(agent.ID(a.ID), agent.InvitationHash(hash[:])).SetPasswordHash(sealed).ClearInvitationHash().ClearInvitationUntil().Save(ctx)
		if err == nil && n == 0 {
			return failed
		}
		return err
	})
	if err != nil {
		return Login{}, err
	}
	return d.openSession(sys, a.ID, client)
}

// SetStatus sets an agent's one status over all channels.
func (d *Desk) SetStatus(ctx context.Context, id *gid.ID, in AgentStatusInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.Self); err != nil {
		return gid.ID{}, err
	}
	who := viewer.From(ctx).Actor
	if id != nil && *id != who {
		if err := need(ctx, viewer.Supervise); err != nil {
			return gid.ID{}, err
		}
		who = *id
	}
	return d.once(ctx, key, []any{"agentStatusSet", who, in}, func(ctx context.Context, w *work) (gid.ID, error) {
		ok, err := w.tx.Agent.Query().Where(agent.ID(who), agent.Active(true)).Exist(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("read agent: %w", err)
		}
		if !ok {
			return gid.ID{}, notFound("agent", "agentId")
		}
		if err := w.chosenReason(ctx, in.ReasonID, in.State); err != nil {
			return who, err
		}
		return who, w.setStatus(ctx, who, in.State, in.ReasonID)
	})
}

// setStatus ends the status in force and begins the next.
func (w *work) setStatus(ctx context.Context, agentID gid.ID, state agentstatus.State, reason *gid.ID) error {
	l, err := w.lockLoad(ctx, agentID) // one status at a time: its changes queue here
	if err != nil {
		return err
	}
	err = w.tx.AgentStatus.Update().Where(agentstatus.AgentID(agentID), agentstatus.EndedAtIsNil()).SetEndedAt(w.at).Exec(ctx)
	if err != nil {
		return fmt.Errorf("end status: %w", err)
	}
	row := w.tx.AgentStatus.Create().SetAgentID(agentID).SetState(state).SetNillableReasonID(reason).SetSince(w.at)
	if v := viewer.From(ctx); !v.Actor.IsZero() {
		row.SetSetByID(v.Actor)
	}
	s, err := row.Save(ctx)
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	if err := w.tx.Agent.UpdateOneID(agentID).SetStatusID(s.ID).Exec(ctx); err != nil {
		return fmt.Errorf("save agent: %w", err)
	}
	if state == agentstatus.StateAVAILABLE && l.Count == 0 {
		// Idle from the moment that he wants work, not from some day before.
		if _, err := w.saveLoad(ctx, l, func(u *ent.AgentLoadUpdateOne) { u.SetIdleSince(w.at).SetMisses(0) }); err != nil {
			return err
		}
	}
	w.emit(fact{typ: AgentStatusChanged, subject: agentID, version: 1, agent: agentID, changed: []string{"status"}})
	return nil
}

// CreateTeam makes a team.
func (d *Desk) CreateTeam(ctx context.Context, in TeamCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return gid.ID{}, err
	}
	defer d.viewer.clear()
	return d.once(ctx, key, []any{"teamCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		if in.ParentID != nil {
			ok, err := w.tx.Team.Query().Where(team.ID(*in.ParentID)).Exist(ctx)
			if err != nil {
				return gid.ID{}, fmt.Errorf("read team: %w", err)
			}
			if !ok {
				return gid.ID{}, notFound("team", "input", "parentId")
			}
		}
		if there, err := w.tx.Team.Query().Where(team.Name(name)).Exist(ctx); err != nil || there {
			return gid.ID{}, orDuplicate(err, "a team of this name exists", "input", "name")
		}
		t, err := w.tx.Team.Create().SetName(name).SetNillableParentID(in.ParentID).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write team: %w", err)
		}
		for _, m := range unique(slices.Clone(in.MemberIds)) {
			ok, err := w.tx.Agent.Query().Where(agent.ID(m)).Exist(ctx)
			if err != nil {
				return gid.ID{}, fmt.Errorf("read agent: %w", err)
			}
			if !ok {
				return gid.ID{}, notFound("agent", "input", "memberIds")
			}
			if err := w.tx.TeamMember.Create().SetAgentID(m).SetTeamID(t.ID).Exec(ctx); err != nil {
				return gid.ID{}, fmt.Errorf("join team: %w", err)
			}
		}
		if err := w.agentsChanged(ctx, in.MemberIds, "teams"); err != nil {
			return gid.ID{}, err
		}
		w.emit(fact{typ: SettingChanged, subject: t.ID, version: t.Version})
		return t.ID, nil
	})
}

func orDuplicate(err error, message string, field ...string) error {
	if err != nil {
		return err
	}
	return refuse(Duplicate, message, field...)
}

// CreateCapacityProfile makes a profile.
func (d *Desk) CreateCapacityProfile(ctx context.Context, in CapacityProfileCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return gid.ID{}, err
	}
	rules := capacityRules(in.Rules)
	if err := checkCapacity(in.Units, rules); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"capacityProfileCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		if there, err := w.tx.CapacityProfile.Query().Where(capacityprofile.Name(name)).Exist(ctx); err != nil || there {
			return gid.ID{}, orDuplicate(err, "a profile of this name exists", "input", "name")
		}
		p, err := w.tx.CapacityProfile.Create().SetName(name).SetUnits(in.Units).SetRules(rules).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write profile: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: p.ID, version: p.Version})
		return p.ID, nil
	})
}

func deref[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
