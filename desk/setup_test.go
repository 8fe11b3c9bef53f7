package desk_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/agentstatus"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/role"
	"tributary/internal/auth"
	"tributary/internal/gid"
	"tributary/internal/opt"
	"tributary/internal/viewer"
	"tributary/router"
)

func skillOf(t *testing.T, w *desktest.World, name string) gid.ID {
	t.Helper()
	id, err := w.Desk.CreateSkill(w.Admin, desk.SkillCreateInput{Name: name}, nil)
	ok(t, err)
	return id
}

// decide lets the router's own core decide upon the floor as it is, and makes its decisions true.
func decide(t *testing.T, w *desktest.World) []router.Outcome {
	t.Helper()
	floor, core := w.Desk.Floor(), router.New(router.Config{})
	snap, err := floor.Snapshot(t.Context())
	ok(t, err)
	core.Load(snap)
	list := core.Decide(w.Clock.Now(), 10)
	for n := range list {
		list[n].Epoch = 1
	}
	out, err := floor.Commit(t.Context(), list)
	ok(t, err)
	return out
}

// From a queue's need to the stored decision: who lacks the skill is left out and counted, and whoever learns it is asked
// without anything else having changed.
func TestAQueuesNeedsDecideWhoIsAsked(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		french := skillOf(t, w, "French")
		q := w.QueueOf(desk.QueueCreateInput{Needs: []desk.SkillNeedInput{{SkillID: french, MinimumLevel: 3}}})
		ann := w.Agent("Ann", "agent")
		ben := w.AgentWith(desk.AgentCreateInput{DisplayName: "Ben", RoleID: w.Roles["agent"], Skills: []desk.SkillLevelInput{{SkillID: french, Level: 2}}})
		for _, a := range []*desktest.Agent{ann, ben} {
			defer w.Connect(a.Viewer())()
		}
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		i := b.Say("t", "u", "bonjour")
		if out := decide(t, w); len(out) != 0 {
			t.Fatalf("offered to somebody who cannot: %+v", out)
		}
		_, err := w.Desk.UpdateAgent(w.Admin, ann.ID, desk.AgentUpdateInput{Skills: &[]desk.SkillLevelInput{{SkillID: french, Level: 3}}}, nil, nil)
		ok(t, err)
		if out := decide(t, w); len(out) != 1 || out[0].Result != router.Committed {
			t.Fatalf("decided %+v", out)
		}
		o, err := w.Store.Ent.Offer.Get(w.Sys, *w.Interaction(i.ID).OpenOfferID)
		ok(t, err)
		d, err := w.Store.Ent.RoutingDecision.Get(w.Sys, *o.DecisionID)
		ok(t, err)
		if o.AgentID != ann.ID || d.Excluded["MISSING_SKILL"] != 2 { // Ben, and the admin who is nobody's speaker
			t.Errorf("offered to %v, left out %v", o.AgentID, d.Excluded)
		}
	})
}

// The router hears of a lesson from the log, as of everything else.
func TestTheFloorTellsOfSkillsAndNeeds(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		french, ann := skillOf(t, w, "French"), w.Agent("Ann", "agent")
		q := w.QueueOf(desk.QueueCreateInput{})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		i := b.Say("t", "u", "bonjour")
		w.Log()
		snap, err := w.Desk.Floor().Snapshot(t.Context())
		ok(t, err)
		_, err = w.Desk.UpdateAgent(w.Admin, ann.ID, desk.AgentUpdateInput{Skills: &[]desk.SkillLevelInput{{SkillID: french, Level: 4}}}, nil, nil)
		ok(t, err)
		w.Log()
		ch, err := w.Desk.Floor().Changes(t.Context(), snap.Position)
		ok(t, err)
		if !slices.ContainsFunc(ch.Agents, func(a router.Agent) bool { return a.ID == router.ID(ann.ID) && a.Skills[router.ID(french)] == 4 }) {
			t.Errorf("the floor tells %+v", ch.Agents)
		}
		_, err = w.Desk.UpdateQueue(w.Admin, q, desk.QueueUpdateInput{Needs: &[]desk.SkillNeedInput{{SkillID: french, MinimumLevel: 2}}}, nil, nil)
		ok(t, err)
		w.Log()
		ch, err = w.Desk.Floor().Changes(t.Context(), ch.Position)
		ok(t, err)
		if !slices.ContainsFunc(ch.Items, func(it router.Item) bool {
			return it.ID == router.ID(i.ID) && len(it.Needs) == 1 && it.Needs[0].Level == 2
		}) {
			t.Errorf("the floor tells %+v", ch.Items)
		}
	})
}

// A smaller profile takes nothing away: it only admits nothing more until there is room.
func TestASmallerProfileLeavesWhatIsServed(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, err := w.Desk.CreateCapacityProfile(w.Admin, desk.CapacityProfileCreateInput{Name: "Three", Units: 3}, nil)
		ok(t, err)
		ann := w.AgentWith(desk.AgentCreateInput{DisplayName: "Ann", RoleID: w.Roles["agent"], CapacityProfileID: &p})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = ptr(false) })
		first, second, third := b.Say("1", "u1", "a"), b.Say("2", "u2", "b"), b.Say("3", "u3", "c")
		w.Serve(first, ann)
		w.Serve(second, ann)
		_, err = w.Desk.UpdateCapacityProfile(w.Admin, p, desk.CapacityProfileUpdateInput{Units: ptr(1)}, nil, nil)
		ok(t, err)
		if l := ann.Load(); l.Used != 2 || w.Interaction(first.ID).State != interaction.StateACTIVE || w.Interaction(second.ID).State != interaction.StateACTIVE {
			t.Errorf("he carries %d", l.Used)
		}
		if _, r := w.Offer(third, ann); r != router.AgentBusy {
			t.Errorf("one more above the bound: %v", r)
		}
		for _, i := range []*ent.Interaction{first, second} {
			_, err := w.Desk.Resolve(ann, i.ConversationID, nil, nil, nil)
			ok(t, err)
		}
		if o, r := w.Offer(third, ann); o == nil {
			t.Errorf("there is room again: %v", r)
		}
		_, err = w.Desk.DeleteCapacityProfile(w.Admin, p, nil, nil)
		w.Refused(err, desk.InUse)
		_, err = w.Desk.UpdateCapacityProfile(w.Admin, p, desk.CapacityProfileUpdateInput{Rules: &[]desk.CapacityRuleInput{{ChannelKind: "custom", UnitsEach: 2}}}, nil, nil)
		w.Refused(err, desk.Invalid) // more than all units
		built, err := w.Store.Ent.CapacityProfile.Query().Order(ent.Asc("id")).FirstID(w.Sys)
		ok(t, err)
		_, err = w.Desk.DeleteCapacityProfile(w.Admin, built, nil, nil)
		w.Refused(err, desk.NotAllowed)
	})
}

// token is an access token of an agent's session: requests that come with it are remembered for some seconds.
func token(t *testing.T, w *desktest.World, a *desktest.Agent) func() *viewer.Viewer {
	t.Helper()
	access, _, err := w.Desk.Tokens.Sign(auth.Claims{Kind: auth.Agent, Workspace: w.ID, Session: a.Session}, auth.AccessLife)
	ok(t, err)
	return func() *viewer.Viewer {
		v, err := w.Desk.Authenticate(t.Context(), access)
		ok(t, err)
		return v
	}
}

// A change of a role or a team is felt by the very next request, although viewers are remembered.
func TestRightsAreFeltAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		id, err := w.Desk.CreateRole(w.Admin, desk.RoleCreateInput{Name: "reader", Scopes: []viewer.Scope{viewer.ConversationRead}, Reach: role.ReachTEAMS}, nil)
		ok(t, err)
		w.Roles["reader"] = id
		ann := w.Agent("Ann", "reader")
		now := token(t, w, ann)
		if v := now(); v.Has(viewer.CustomerRead) || len(v.Teams) != 0 || !v.Has(viewer.Self) {
			t.Fatalf("she begins as %+v", v)
		}
		_, err = w.Desk.UpdateRole(w.Admin, id, desk.RoleUpdateInput{Scopes: &[]viewer.Scope{viewer.ConversationRead, viewer.CustomerRead}}, nil, nil)
		ok(t, err)
		if !now().Has(viewer.CustomerRead) {
			t.Error("a scope that was given is not felt")
		}
		team := w.Team("A")
		_, err = w.Desk.UpdateTeam(w.Admin, team, desk.TeamUpdateInput{MemberIds: &[]gid.ID{ann.ID}}, nil, nil)
		ok(t, err)
		if !slices.Contains(now().Teams, team) {
			t.Error("a team that was joined is not felt")
		}
		_, err = w.Desk.UpdateTeam(w.Admin, team, desk.TeamUpdateInput{MemberIds: &[]gid.ID{}}, nil, nil)
		ok(t, err)
		if slices.Contains(now().Teams, team) {
			t.Error("a team that was left is still felt")
		}
		_, err = w.Desk.UpdateAgent(w.Admin, ann.ID, desk.AgentUpdateInput{RoleID: ptr(w.Roles["agent"])}, nil, nil)
		ok(t, err)
		if !now().Has(viewer.ConversationWrite) {
			t.Error("another role is not felt")
		}
		_, err = w.Desk.DeleteRole(w.Admin, id, nil, nil)
		ok(t, err)
	})
}

// Whoever joins or leaves a team by teamUpdate is told of by the log, with a version that clients can order by.
func TestMembersAreToldOf(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, ben := w.Agent("Ann", "agent"), w.Agent("Ben", "agent")
		team := w.Team("A")
		w.Log()
		version := func(a *desktest.Agent) int {
			row, err := w.Store.Ent.Agent.Get(w.Sys, a.ID)
			ok(t, err)
			return row.Version
		}
		before := version(ann)
		for _, members := range [][]gid.ID{{ann.ID, ben.ID}, {ben.ID}} {
			_, err := w.Desk.UpdateTeam(w.Admin, team, desk.TeamUpdateInput{MemberIds: &members}, nil, nil)
			ok(t, err)
		}
		told := map[gid.ID][]int{}
		for _, e := range w.Log() {
			if e.Type == string(desk.AgentUpdated) && slices.Contains(e.Changed, "teams") {
				told[e.SubjectID] = append(told[e.SubjectID], e.SubjectVersion)
			}
		}
		if !slices.Equal(told[ann.ID], []int{before + 1, before + 2}) || len(told[ben.ID]) != 1 || version(ann) != before+2 {
			t.Errorf("told %v, Ann had version %d", told, before)
		}
	})
}

func TestNobodyGivesWhatHeDoesNotHold(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		hr := w.Role("hr", role.ReachTEAMS, viewer.PeopleRead, viewer.PeopleWrite, viewer.APIWrite, viewer.ConversationRead)
		ann := w.Agent("Ann", hr)
		give := func(in desk.RoleCreateInput) error {
			in.Name = w.Unique("role")
			_, err := w.Desk.CreateRole(ann, in, nil)
			return err
		}
		read := []viewer.Scope{viewer.ConversationRead}
		ok(t, give(desk.RoleCreateInput{Scopes: read, Reach: role.ReachTEAMS}))
		w.Refused(give(desk.RoleCreateInput{Scopes: []viewer.Scope{viewer.ChannelWrite}, Reach: role.ReachOWN}), desk.NotAllowed)
		w.Refused(give(desk.RoleCreateInput{Scopes: []viewer.Scope{viewer.SystemAdmin}, Reach: role.ReachOWN}), desk.NotAllowed)
		w.Refused(give(desk.RoleCreateInput{Scopes: read, Reach: role.ReachALL}), desk.NotAllowed)
		w.Refused(give(desk.RoleCreateInput{Scopes: read, Reach: role.ReachOWN, PersonalShown: []string{"PHONE"}}), desk.NotAllowed)
		// Nor by handing out a role that holds it, nor by changing one.
		_, err := w.Desk.CreateAgent(ann, desk.AgentCreateInput{DisplayName: "x", Email: w.Mail("x"), RoleID: w.Roles["admin"]}, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.UpdateAgent(ann, ann.ID, desk.AgentUpdateInput{RoleID: ptr(w.Roles["admin"])}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		strong := w.Role("strong", role.ReachALL, viewer.ChannelWrite)
		_, err = w.Desk.UpdateRole(ann, w.Roles[strong], desk.RoleUpdateInput{Scopes: &read}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		for _, name := range []string{"agent", "admin"} {
			_, err = w.Desk.UpdateRole(w.Admin, w.Roles[name], desk.RoleUpdateInput{Name: ptr("x")}, nil, nil)
			w.Refused(err, desk.NotAllowed)
			_, err = w.Desk.DeleteRole(w.Admin, w.Roles[name], nil, nil)
			w.Refused(err, desk.NotAllowed)
		}
		_, err = w.Desk.DeleteRole(w.Admin, w.Roles[hr], nil, nil)
		if r := w.Refused(err, desk.InUse); r.ConflictID != ann.ID {
			t.Errorf("the conflict is %v", r.ConflictID)
		}
	})
}

func TestTheBreakAfterMissesHasItsReason(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{BreakAfterMisses: ptr(1)})
		// As in a workspace from before there were reasons, whose people have used the name.
		_, err := w.Store.Ent.StatusReason.Delete().Exec(w.Sys)
		ok(t, err)
		_, err = w.Desk.CreateStatusReason(w.Admin, desk.StatusReasonCreateInput{Name: "No answer", State: "BUSY"}, nil)
		ok(t, err)
		ann := w.Agent("Ann", "agent")
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		if o, r := w.Offer(b.Say("t", "u", "hello"), ann); o == nil {
			t.Fatal(r)
		}
		w.Clock.Add(time.Minute)
		w.Work()
		s, err := w.Store.Ent.AgentStatus.Query().Where(agentstatus.AgentID(ann.ID), agentstatus.EndedAtIsNil()).WithReason().Only(w.Sys)
		ok(t, err)
		if s.State != agentstatus.StateBREAK || s.Edges.Reason == nil || s.Edges.Reason.Key == nil || *s.Edges.Reason.Key != "no_answer" {
			t.Errorf("her status is %v because of %v", s.State, s.Edges.Reason)
		}
	})
}

func TestAQueueIsDeletedOnceNothingNeedsIt(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		team, other := w.Team("A"), w.QueueOf(desk.QueueCreateInput{})
		q := w.QueueOf(desk.QueueCreateInput{TeamID: &team})
		remove := func(id gid.ID) error {
			_, err := w.Desk.DeleteQueue(w.Admin, id, nil, nil)
			return err
		}
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		if r := w.Refused(remove(q), desk.InUse); r.ConflictID != b.ID {
			t.Errorf("the conflict is %v", r.ConflictID)
		}
		ann := w.Agent("Ann", "agent", team)
		i := w.Serve(b.Say("t", "u", "hello"), ann)
		_, err := w.Desk.UpdateChannel(w.Admin, b.ID, desk.ChannelUpdateInput{QueueID: opt.ID{Set: true, V: &other}}, nil, nil)
		ok(t, err)
		if r := w.Refused(remove(q), desk.InUse); r.ConflictID != i.ID {
			t.Errorf("the conflict is %v", r.ConflictID)
		}
		w.Refused(remove(w.Queue), desk.InUse)
		_, err = w.Desk.Resolve(ann, i.ConversationID, nil, nil, nil)
		ok(t, err)
		ok(t, remove(q))
		if got := w.Interaction(i.ID); got.State != interaction.StateENDED || got.QueueID != nil {
			t.Errorf("the history is %v in %v", got.State, got.QueueID)
		}
		c := w.Conversation(i.ConversationID)
		if c.State != conversation.StateRESOLVED || !slices.Contains(c.Audience, team) {
			t.Error("the team has lost its history")
		}
	})
}

// The promise behind the lock: what is being queued when a queue is deleted is never left without one.
func TestNothingIsLeftWithoutAQueue(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q, other := w.QueueOf(desk.QueueCreateInput{}), w.Queue
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &other })
		i := b.Say("t", "u", "hello")
		tried := make(chan error, 1)
		ok(t, w.Store.Tx(w.Sys, func(ctx context.Context, tx *ent.Tx) error {
			// As a transfer does, not committed yet when the deletion looks around.
			if err := tx.Interaction.UpdateOneID(i.ID).SetQueueID(q).Exec(ctx); err != nil {
				return err
			}
			go func() {
				_, err := w.Desk.DeleteQueue(w.Admin, q, nil, nil)
				tried <- err
			}()
			select {
			case err := <-tried:
				t.Errorf("the deletion did not wait: %v", err)
				tried <- err
			case <-time.After(300 * time.Millisecond):
			}
			return nil
		}))
		w.Refused(<-tried, desk.InUse)
		g, err := w.Desk.Gauges(t.Context())
		ok(t, err)
		if g.Stray != 0 {
			t.Errorf("%d are left without a queue", g.Stray)
		}
	})
}
