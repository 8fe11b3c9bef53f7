package desk_test

import (
	"fmt"
	"testing"
	"time"

	"tributary/channels"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/participant"
	"tributary/ent/pull"
	"tributary/ent/rawinbound"
	"tributary/internal/gid"
)

// What a hostile reading of letters and streams found, each as it happened.

// An empty list is no NULL, and rows with it would never be pruned.
func TestAnEventWithoutFilesHasNone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		b.Say("t", "u", "hello")
		n, err := w.Store.Ent.RawInbound.Query().Where(rawinbound.FilesNotNil()).Count(w.Sys)
		ok(t, err)
		if n != 0 {
			t.Errorf("%d raw rows without files have files IS NOT NULL", n)
		}
	})
}

// However many there are.
func TestAllOldEventsArePruned(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		for k := range 6 {
			evs := []desktest.M{}
			for j := range 100 {
				evs = append(evs, b.Text(fmt.Sprintf("e%d-%d", k, j), "t", "u", "x"))
			}
			ok(t, b.Deliver(evs...))
		}
		ok(t, w.Store.Ent.RawInbound.Update().SetState(rawinbound.StateDONE).Exec(w.Sys))
		w.Clock.Add(8 * 24 * time.Hour)
		ok(t, w.Desk.SweepRaw(t.Context(), 7*24*time.Hour))
		if n := w.Store.Ent.RawInbound.Query().CountX(w.Sys); n != 0 {
			t.Errorf("%d of 600 rows are left after a sweep", n)
		}
	})
}

// The row says that the node holds the stream, and nothing runs: the answer to its taking was lost.
func TestAHeldStreamIsFetched(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := w.Post(nil)
		w.Puller()
		w.Eventually("it is fetched", func() bool { return p.Box.Fetches() > 0 })
		ok(t, w.Store.Ent.Pull.Update().Where(pull.ChannelID(p.ID)).AddEpoch(1).Exec(w.Sys))
		p.Box.Add(p.Mail("a", "a@c.test", "a", "a"))
		w.Eventually("it is fetched under the new epoch", func() bool {
			n, err := w.Store.Ent.RawInbound.Query().Where(rawinbound.ChannelID(p.ID)).Count(w.Sys)
			ok(t, err)
			return n == 1
		})
	})
}

// Not to a machine that wrote last, and to whose message is named.
func TestAnAnswerGoesToWhoIsAnswered(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, a := w.Post(nil), agentOf(w)
		in := p.Mail("m1", "alice@c.test", "Hi", "one")
		in.Cc = to("bob@d.test")
		m := p.Arrives(in)
		answerIn(t, w, p, a, m.InteractionID, desk.MessageInput{ReplyAll: ptr(true)})
		auto := desktest.Answers(p.Mail("m2", "bob@d.test", "Out of office", "away"), "m1")
		auto.Automatic = true
		p.Arrives(auto)
		out := answerIn(t, w, p, a, m.InteractionID, desk.MessageInput{Text: ptr("Alice, here is your secret")})
		if got := values(out.Recipients.To); got[0] != "alice@c.test" {
			t.Errorf("to %q, subject %q", got, out.Subject)
		}
		first := m.ID
		third := desktest.Answers(p.Mail("m3", "eve@e.test", "Re: Hi", "me too"), "m1")
		p.Arrives(third)
		out = answerIn(t, w, p, a, m.InteractionID, desk.MessageInput{Text: ptr("to alice"), InReplyToID: &first})
		if got := values(out.Recipients.To); got[0] != "alice@c.test" {
			t.Errorf("inReplyToId m1: to %q, refs %q, replyTo %q", got, out.References, out.ReplyTo)
		}
	})
}

// Mallory writes as Alice with himself on Cc, gets the answer, and writes as Alice to the address in it.
func TestWhatSeveralGotProvesNobody(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, a := w.Post(nil), agentOf(w)
		victim := p.Arrives(desktest.Proved(p.Mail("v1", "alice@bank.test", "private", "my account")))
		spoof := p.Mail("m1", "alice@bank.test", "Hi", "one")
		spoof.Cc = to("mallory@evil.test")
		m := p.Arrives(spoof)
		if *m.CustomerID == *victim.CustomerID {
			t.Fatal("joined at once")
		}
		out := answerIn(t, w, p, a, m.InteractionID, desk.MessageInput{ReplyAll: ptr(true)})
		for n, mark := range []string{out.Marks.Conversation, out.Marks.Message, out.Marks.Delivery} {
			again := p.Mail(fmt.Sprint("again-", n), "alice@bank.test", "Re: Hi", "two")
			again.Marks = []string{mark}
			if got := p.Arrives(again); *got.CustomerID == *victim.CustomerID || len(got.Warnings) == 0 {
				t.Errorf("by %s the spoofed sender is the victim's customer; warnings %v", mark, got.Warnings)
			}
		}
	})
}

// The conversation's mark must not lead an answer out of a restricted contact into an open one beside it.
func TestAnAnswerStaysInItsContact(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		medical := w.Team("medical")
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &medical, Restricted: ptr(true)})
		p, a := w.Post(nil), agentOf(w)
		doc := w.Agent("Doc", "agent", medical)
		w.Connect(doc.Viewer())
		first := p.Arrives(p.Mail("m1", "x@c.test", "blood", "one"))
		i := w.Serve(w.Interaction(first.InteractionID), a)
		ok(t, w.Store.Ent.Interaction.UpdateOneID(i.ID).SetQueueID(q).Exec(w.Sys)) // as a transfer to the restricted queue leaves it
		second := p.Arrives(p.Mail("m2", "x@c.test", "parcel", "two"))
		_, err := w.Desk.MergeConversations(w.Agent("M", "admin", medical), first.ConversationID, []gid.ID{second.ConversationID}, nil)
		ok(t, err)
		i = w.Interaction(i.ID)
		ok(t, w.Store.Ent.Interaction.UpdateOneID(i.ID).SetAgentID(doc.ID).Exec(w.Sys))
		_, err = w.Desk.SendMessage(doc, i.ID, desk.MessageInput{Text: ptr("your blood is fine")}, nil)
		ok(t, err)
		w.Work()
		sent := p.Box.Sent()
		out := sent[len(sent)-1]
		back := desktest.Answers(p.Mail("m3", "x@c.test", "Re: blood", "my illness"), "m1")
		back.Marks = []string{out.Marks.Conversation, out.Marks.Message}
		m := p.Arrives(back)
		if m.InteractionID != first.InteractionID {
			n := w.Interaction(m.InteractionID)
			t.Errorf("an answer to the restricted contact stands in another one (queue restricted: %v)", n.QueueID != nil && *n.QueueID == q)
		}
	})
}

// It stands in the first mailbox's contact, and the person's answer in the second one still finds the matter.
func TestAMachinesWordElsewhereBreaksNoThread(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		help, sales := w.Post(nil), w.Post(nil)
		first := help.Arrives(help.Mail("m1", "x@c.test", "Hi", "one"))
		auto := desktest.Answers(sales.Mail("m2", "x@c.test", "auto", "away"), "m1")
		auto.Automatic = true
		sales.Box.Add(auto)
		sales.Pull()
		w.Work()
		m := sales.Arrives(desktest.Answers(sales.Mail("m3", "x@c.test", "Re: Hi", "two"), "m1"))
		if m.ConversationID != first.ConversationID {
			c := w.Conversation(m.ConversationID)
			t.Errorf("a new conversation, related %v", c.RelatedID)
		}
	})
}

// Reply-To is kept, and an answer to all is possible.
func TestALetterToMany(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, a := w.Post(nil), agentOf(w)
		in := p.Mail("m1", "alice@c.test", "Hi", "one")
		for k := range 60 {
			in.Cc = append(in.Cc, to(fmt.Sprintf("p%d@c.test", k))...)
		}
		in.ReplyTo = to("answers@c.test")
		in.Warnings = []string{channels.WarnReplyToForeign}
		m := p.Arrives(in)
		i := w.Serve(w.Interaction(m.InteractionID), a)
		c, err := w.Desk.Composer(a, i)
		ok(t, err)
		if v := c.ReplyTo[0].Identity.Value.Clear(); v != "answers@c.test" {
			t.Errorf("Reply-To is lost: %q", v)
		}
		_, err = w.Desk.SendMessage(a, i.ID, desk.MessageInput{Text: ptr("x"), ReplyAll: ptr(true)}, nil)
		if err != nil {
			t.Errorf("reply to all: %v", err)
		}
	})
}

// MODEL 1: he takes part where his mail is.
func TestWhoReadsAlongGoesWithTheContact(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := w.Post(nil)
		in := p.Mail("m1", "x@c.test", "Hi", "one")
		in.Cc = to("cc@c.test")
		first := p.Arrives(in)
		second := p.Arrives(p.Mail("m2", "x@c.test", "Ho", "two"))
		_, err := w.Desk.MergeConversations(w.Admin, second.ConversationID, []gid.ID{first.ConversationID}, nil)
		ok(t, err)
		id, err := w.Desk.SplitConversation(w.Admin, second.ConversationID, []gid.ID{first.InteractionID}, nil, nil)
		ok(t, err)
		there, err := w.Store.Ent.Participant.Query().Where(participant.ConversationID(id), participant.RoleEQ(participant.RoleCC)).Exist(w.Sys)
		if err != nil || !there {
			t.Errorf("the Cc did not go with the contact (%v)", err)
		}
	})
}
