package desk_test

import (
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/assignment"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/internal/gid"
)

func inQueue(q *gid.ID) func(*desk.ChannelCreateInput) {
	return func(in *desk.ChannelCreateInput) { in.QueueID = q }
}

// Deleting a restricted queue would open what was said in it.
func TestARestrictedQueueWithHistoryIsNotDeleted(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		team := w.Team("medical")
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &team, Restricted: ptr(true)})
		other := w.QueueOf(desk.QueueCreateInput{Name: "other"})
		doc := w.Agent("Doc", "admin", team)
		b := w.Bridge(inQueue(&q))
		i := w.Serve(b.Say("t1", "u1", "my blood"), doc)
		_, err := w.Desk.Resolve(doc, i.ConversationID, nil, nil, nil)
		ok(t, err)
		in := desk.ChannelUpdateInput{}
		in.QueueID.Set, in.QueueID.V = true, &other
		_, err = w.Desk.UpdateChannel(w.Admin, b.ID, in, nil, nil)
		ok(t, err)
		_, err = w.Desk.DeleteQueue(w.Admin, q, nil, nil)
		if r := w.Refused(err, desk.InUse); r.ConflictID != i.ID {
			t.Error("the refusal names what was said there")
		}
		_, err = w.Desk.UpdateQueue(doc, q, desk.QueueUpdateInput{Restricted: ptr(false)}, nil, nil)
		ok(t, err)
		_, err = w.Desk.DeleteQueue(w.Admin, q, nil, nil)
		ok(t, err)
		_, err = w.Desk.Reopen(doc, i.ConversationID, nil)
		ok(t, err)
		if n := b.Say("t1", "u1", "are you there?"); n.State != interaction.StateQUEUED || !is(n.QueueID, other) {
			t.Errorf("%s in %v: what waits has a queue", n.State, n.QueueID)
		}
	})
}

func TestWhoHelpsDoesNotHideThatTheServerIsSilent(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{Name: "q", SilentAfterSeconds: ptr(60)})
		ann, sue := w.Agent("Ann", "agent"), w.Agent("Sue", "admin")
		i := w.Serve(w.Bridge(inQueue(&q)).Say("t1", "u1", "hello"), ann)
		w.Clock.Add(5 * time.Second)
		_, err := w.Desk.Join(sue, i.ID, nil)
		ok(t, err)
		w.Clock.Add(10 * time.Minute)
		w.Work()
		if n := w.Interaction(i.ID); n.State != interaction.StateQUEUED {
			t.Errorf("the silent server keeps it: %s", n.State)
		}
	})
}

func TestAMereServerDoesNotPassTheMatterOn(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.Release(ann, i.ID, nil, nil)
		ok(t, err)
		i = w.Serve(w.Interaction(i.ID), bob)
		_, err = w.Desk.SetOwner(bob, i.ConversationID, &bob.ID, nil)
		w.Refused(err, desk.NotAllowed)
		q := w.QueueOf(desk.QueueCreateInput{Name: "second"})
		_, err = w.Desk.Transfer(bob, i.ID, desk.TransferInput{QueueID: &q, WithOwner: ptr(true)}, nil)
		if r := w.Refused(err, desk.NotAllowed); r.ConflictID != ann.ID {
			t.Error("the refusal names the owner")
		}
	})
}

func TestALaterWordAboutTheOwnerStands(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob, cat := w.Agent("Ann", "agent"), w.Agent("Bob", "agent"), w.Agent("Cat", "agent")
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		q := w.QueueOf(desk.QueueCreateInput{Name: "second"})
		_, err := w.Desk.Transfer(ann, i.ID, desk.TransferInput{QueueID: &q, WithOwner: ptr(true)}, nil)
		ok(t, err)
		_, err = w.Desk.SetOwner(w.Admin, i.ConversationID, &cat.ID, nil)
		ok(t, err)
		w.Serve(w.Interaction(i.ID), bob)
		if c := w.Conversation(i.ConversationID); !is(c.OwnerID, cat.ID) {
			t.Error("the supervisor's later choice was overridden")
		}
	})
}

func TestWhoWasSwitchedOffCanBeTakenOut(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.Follow(ann, i.ConversationID, true, []gid.ID{bob.ID}, nil)
		ok(t, err)
		n, err := w.Desk.CreateNote(ann, desk.NoteCreateInput{InteractionID: &i.ID, Text: "x", MentionIds: []gid.ID{bob.ID}}, nil)
		ok(t, err)
		_, err = w.Desk.UpdateAgent(w.Admin, bob.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		ok(t, err)
		if _, err = w.Desk.Follow(ann, i.ConversationID, false, []gid.ID{bob.ID}, nil); err != nil {
			t.Error("cannot end the following of one who was switched off:", err)
		}
		if _, err = w.Desk.UpdateNote(ann, n, desk.NoteUpdateInput{MentionIds: &[]gid.ID{bob.ID, ann.ID}}, nil, nil); err != nil {
			t.Error("cannot keep a mention of one who was switched off:", err)
		}
	})
}

func TestWhoLeavesARestrictedTeamCanGiveItsWorkBack(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		team := w.Team("medical")
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &team, Restricted: ptr(true)})
		doc := w.Agent("Doc", "agent", team)
		b := w.Bridge(inQueue(&q))
		i := w.Serve(b.Say("t1", "u1", "my blood"), doc)
		j := b.Say("t2", "u2", "mine, too")
		available(t, w, doc)
		o, _ := w.Offer(j, doc)
		_, err := w.Desk.UpdateAgent(w.Admin, doc.ID, desk.AgentUpdateInput{TeamIds: &[]gid.ID{}}, nil, nil)
		ok(t, err)
		w.Work()
		doc = doc.Again()
		if _, err := w.Desk.AcceptOffer(doc, o.ID, nil); err == nil {
			t.Error("accepts what he may not read")
		}
		_, release := w.Desk.Release(doc, i.ID, nil, nil)
		_, end := w.Desk.End(doc, i.ID, nil)
		_, resolve := w.Desk.Resolve(doc, i.ConversationID, nil, nil, nil)
		if n := w.Interaction(i.ID); n.State == interaction.StateACTIVE && release != nil && end != nil && resolve != nil {
			t.Errorf("ACTIVE with him, used %d, and he can do nothing: %v; %v; %v", doc.Load().Used, release, end, resolve)
		}
	})
}

func TestWhoIsSwitchedOffHelpsNoMore(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, sue := w.Agent("Ann", "agent"), w.Agent("Sue", "admin")
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.Join(sue, i.ID, nil)
		ok(t, err)
		_, err = w.Desk.UpdateAgent(w.Admin, sue.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		ok(t, err)
		w.Work()
		n, err := w.Store.Ent.Assignment.Query().Where(assignment.AgentID(sue.ID), assignment.EndedAtIsNil()).Count(w.Sys)
		ok(t, err)
		if consultants(t, w, w.Interaction(i.ID)) != 0 || n != 0 {
			t.Errorf("switched off, and helps: %d open assignments", n)
		}
	})
}

func TestAMergeDoesNotPassTheMatterOn(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob, cat := w.Agent("Ann", "agent"), w.Agent("Bob", "agent"), w.Agent("Cat", "agent")
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = ptr(false) })
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		j := w.Serve(b.Say("t2", "u1", "else"), bob)
		q := w.QueueOf(desk.QueueCreateInput{Name: "second"})
		_, err := w.Desk.Transfer(ann, i.ID, desk.TransferInput{QueueID: &q, WithOwner: ptr(true)}, nil)
		ok(t, err)
		_, err = w.Desk.MergeConversations(w.Admin, j.ConversationID, []gid.ID{i.ConversationID}, nil)
		ok(t, err)
		w.Serve(w.Interaction(i.ID), cat)
		if c := w.Conversation(j.ConversationID); !is(c.OwnerID, bob.ID) {
			t.Error("Bob's matter went to Cat by Ann's word")
		}
	})
}

func TestWhatWasAnsweredBeforeItWasTakenPauses(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{Name: "q", PauseAfterReplySeconds: ptr(60)})
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		i := w.Serve(w.Bridge(inQueue(&q)).Say("t1", "u1", "hello"), ann)
		ann.Reply(i, "Bob will answer")
		_, err := w.Desk.Transfer(ann, i.ID, desk.TransferInput{QueueID: &q}, nil)
		ok(t, err)
		w.Clock.Add(61 * time.Second)
		w.Work()
		w.Serve(w.Interaction(i.ID), bob)
		w.Clock.Add(24 * time.Hour)
		w.Work()
		if n := w.Interaction(i.ID); n.State != interaction.StatePAUSED {
			t.Errorf("a day later %s, conversation %s, Bob carries %d", n.State, w.Conversation(i.ConversationID).State, bob.Load().Used)
		}
	})
}

func TestATeamThatLosesSightIsTold(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		sales, service := w.Team("sales"), w.Team("service")
		from := w.QueueOf(desk.QueueCreateInput{Name: "sales", TeamID: &sales})
		to := w.QueueOf(desk.QueueCreateInput{Name: "service", TeamID: &service})
		ann, cat := w.Agent("Ann", "agent", sales), w.Agent("Cat", "agent", sales)
		i := w.Serve(w.Bridge(inQueue(&from)).Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.Transfer(ann, i.ID, desk.TransferInput{QueueID: &to}, nil)
		ok(t, err)
		told := sees(t, w, cat, i.ConversationID)
		for _, e := range w.Log() {
			told = told || e.Type == string(desk.ConversationRemoved)
		}
		if !told {
			t.Error("Cat lost sight and nobody told her")
		}
	})
}

func TestTheWorkAfterAContactEndsWithItsAgent(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{Name: "q", WrapUpSeconds: ptr(600)})
		ann := w.Agent("Ann", "agent")
		b := w.Bridge(inQueue(&q))
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.End(ann, i.ID, nil)
		ok(t, err)
		_, err = w.Desk.UpdateAgent(w.Admin, ann.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		ok(t, err)
		w.Work()
		b.Say("t1", "u1", "one more thing")
		w.Clock.Add(24 * time.Hour)
		w.Work()
		ok(t, w.Desk.Sweep(w.Sys))
		if n := w.Interaction(i.ID); n.State == interaction.StateACTIVE {
			t.Errorf("a day later %s with an agent who was switched off; the conversation is %s", n.State, w.Conversation(i.ConversationID).State)
		}
	})
}

func TestARestrictedThreadGoesOnInItsQueue(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		team := w.Team("medical")
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &team, Restricted: ptr(true)})
		plain := w.QueueOf(desk.QueueCreateInput{Name: "plain"})
		doc, all := w.Agent("Doc", "agent", team), w.Agent("All", "admin")
		b := w.Bridge(inQueue(&plain))
		i := w.Serve(b.Say("t1", "u1", "hello"), w.Agent("X", "agent"))
		_, err := w.Desk.Transfer(w.Admin, i.ID, desk.TransferInput{QueueID: &q}, nil)
		ok(t, err)
		w.Serve(w.Interaction(i.ID), doc)
		doc.Reply(i, "send me your blood test")
		_, err = w.Desk.End(doc, i.ID, nil)
		ok(t, err)
		if _, err := w.Desk.StartInteraction(all, i.ConversationID, b.ID, nil, nil); err == nil {
			t.Error("a non-member goes on with the restricted contact's thread")
		}
		n := b.Say("t1", "u1", "here it is")
		if c, _ := w.Store.Ent.Message.Query().Where(message.InteractionID(n.ID)).Count(all); c != 0 {
			t.Errorf("the answer to the restricted contact is read by a non-member: queue %v", n.QueueID)
		}
	})
}

func TestASnoozeThatComesBackFromAMergeEnds(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = ptr(false) })
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		j := w.Serve(b.Say("t2", "u1", "else"), ann)
		ann.Reply(i, "tomorrow")
		_, err := w.Desk.Snooze(ann, i.ConversationID, w.Clock.Now().Add(time.Hour), nil)
		ok(t, err)
		_, err = w.Desk.MergeConversations(ann, j.ConversationID, []gid.ID{i.ConversationID}, nil)
		ok(t, err)
		w.Clock.Add(2 * time.Hour)
		w.Work()
		m, err := w.Store.Ent.ConversationMerge.Query().Only(w.Sys)
		ok(t, err)
		if _, err = w.Desk.UndoConversationMerge(ann, m.FromID, nil); err != nil {
			_, err = w.Desk.UndoConversationMerge(ann, m.ID, nil)
		}
		ok(t, err)
		w.Clock.Add(48 * time.Hour)
		w.Work()
		if c := w.Conversation(i.ConversationID); c.State == "SNOOZED" {
			t.Errorf("%s until %v, two days after its time", c.State, c.SnoozedUntil)
		}
	})
}
