package desk_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tributary/channels"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/participant"
	"tributary/ent/pull"
	"tributary/ent/recipient"
	"tributary/internal/gid"
)

// answerIn lets an agent serve the contact and answer it, and returns what the kind was given.
func answerIn(t *testing.T, w *desktest.World, p *desktest.Post, a *desktest.Agent, id gid.ID, in desk.MessageInput) channels.Outbound {
	t.Helper()
	i := w.Interaction(id)
	if i.AgentID == nil {
		i = w.Serve(i, a)
	}
	if in.Text == nil {
		in.Text = ptr("an answer")
	}
	_, err := w.Desk.SendMessage(a, i.ID, in, nil)
	ok(t, err)
	w.Work()
	sent := p.Box.Sent()
	return sent[len(sent)-1]
}

func agentOf(w *desktest.World) *desktest.Agent {
	a := w.Agent("Ann", "agent")
	w.Connect(a.Viewer())
	return a
}

func to(addresses ...string) (out []channels.Address) {
	for _, a := range addresses {
		out = append(out, channels.Address{IdentityKey: channels.IdentityKey{Kind: channels.IdentityEmail, Value: a}})
	}
	return out
}

func values(list []channels.Address) (out []string) {
	for _, a := range list {
		out = append(out, a.Value)
	}
	return out
}

// MODEL 4: by our mark, by a named message, else a new matter.
func TestALetterFindsItsThread(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, a := w.Post(nil), agentOf(w)
		first := p.Arrives(p.Mail("m1", "x@c.test", "Hi", "one"))
		same := func(what string, m *ent.Message, want bool) {
			t.Helper()
			if (m.ConversationID == first.ConversationID) != want {
				t.Errorf("%s: in the conversation is %v, want %v", what, !want, want)
			}
		}
		same("another mail of the same person", p.Arrives(p.Mail("m2", "x@c.test", "Hi", "unrelated")), false)
		same("an answer to it", p.Arrives(desktest.Answers(p.Mail("m3", "x@c.test", "Re: Hi", "more"), "m1")), true)
		same("an answer to the answer, the first one forgotten", p.Arrives(desktest.Answers(p.Mail("m4", "x@c.test", "Re: Hi", "more"), "m3")), true)
		out := answerIn(t, w, p, a, first.InteractionID, desk.MessageInput{})
		if out.Subject != "Re: Hi" || !slices.Equal(out.References, []string{"m3", "m4"}) {
			t.Errorf("the answer is called %q and names %q", out.Subject, out.References)
		}
		marked := p.Mail("m5", "x@c.test", "other subject", "by mark")
		marked.Marks = []string{"c1.000000000000", out.Marks.Conversation}
		same("with our mark alone", p.Arrives(marked), true)
		byID := p.Mail("m6", "x@c.test", "other subject", "by id")
		byID.Marks = []string{out.Marks.Message}
		same("with our message's mark", p.Arrives(byID), true)
		forged := p.Mail("m7", "x@c.test", "Re: Hi", "forged")
		forged.Marks = []string{out.Marks.Conversation[:len(out.Marks.Conversation)-1] + "z"}
		same("with a forged mark", p.Arrives(forged), false)
		// Two answers to a mail that we never saw still meet.
		one := p.Arrives(desktest.Answers(p.Mail("m8", "x@c.test", "Re: elsewhere", "a"), "never-seen"))
		two := p.Arrives(desktest.Answers(p.Mail("m9", "y@c.test", "Re: elsewhere", "b"), "root", "never-seen"))
		if one.ConversationID != two.ConversationID {
			t.Error("two answers to one unseen mail are in two conversations")
		}
	})
}

// A resolved thread reopens for fourteen days; later its answer is a new matter that is related.
func TestALetterAfterTheEnd(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := w.Post(nil)
		for days, reopens := range map[int]bool{13: true, 15: false} {
			id := w.Unique("mail")
			first := p.Arrives(p.Mail(id, "x@c.test", "Hi", "one"))
			_, err := w.Desk.Resolve(w.Admin, first.ConversationID, nil, nil, nil)
			ok(t, err)
			w.Clock.Add(time.Duration(days) * 24 * time.Hour)
			machine := desktest.Answers(p.Mail(w.Unique("mail"), "x@c.test", "out of office", "auto"), id)
			machine.Automatic = true
			if m := p.Arrives(machine); m.ConversationID != first.ConversationID || w.Conversation(first.ConversationID).State != conversation.StateRESOLVED {
				t.Errorf("a machine's word after %d days: it reopened, or stands elsewhere", days)
			}
			m := p.Arrives(desktest.Answers(p.Mail(w.Unique("mail"), "x@c.test", "Re: Hi", "two"), id))
			c := w.Conversation(m.ConversationID)
			switch {
			case reopens && (c.ID != first.ConversationID || c.State != conversation.StateOPEN):
				t.Errorf("after %d days it did not reopen", days)
			case !reopens && (c.ID == first.ConversationID || !is(c.RelatedID, first.ConversationID)):
				t.Errorf("after %d days it is not a related matter", days)
			}
		}
	})
}

// A mail in two mailboxes is one message, in the first one's contact, with two arrivals; a second copy in the same
// mailbox is nothing.
func TestOneMailInTwoMailboxes(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		help, sales := w.Post(nil), w.Post(nil)
		in := help.Mail("m1", "x@c.test", "Hi", "one")
		first := help.Arrives(in)
		sales.Box.Add(in)
		sales.Pull()
		w.Work()
		again := in
		again.ExternalID = "m1 fetched anew"
		help.Box.Add(again)
		help.Pull()
		w.Work()
		if n, err := w.Store.Ent.Message.Query().Count(w.Sys); err != nil || n != 1 {
			t.Fatalf("%d messages (%v)", n, err)
		}
		ways, err := first.QueryArrivals().All(w.Sys)
		ok(t, err)
		if len(ways) != 2 || ways[0].ChannelID == ways[1].ChannelID {
			t.Errorf("arrivals: %v", ways)
		}
		// The answer, sent to the second mailbox alone, goes on in the matter.
		m := sales.Arrives(desktest.Answers(sales.Mail("m2", "x@c.test", "Re: Hi", "two"), "m1"))
		if m.ConversationID != first.ConversationID || m.InteractionID == first.InteractionID {
			t.Error("the answer to the other mailbox is not a contact of its own in the same matter")
		}
		if i := w.Interaction(m.InteractionID); i.JoinedBy != interaction.JoinedByTHREAD {
			t.Errorf("joined by %s", i.JoinedBy)
		}
	})
}

// MODEL 5: an unproved From joins nobody; a verdict does; our mark coming back from where it was sent proves the address.
func TestWhoWroteALetter(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, a := w.Post(nil), agentOf(w)
		proved := p.Arrives(desktest.Proved(p.Mail("m1", "x@c.test", "Hi", "one")))
		claimed := p.Arrives(p.Mail("m2", "x@c.test", "Hi", "two"))
		if *claimed.CustomerID == *proved.CustomerID {
			t.Error("an unproved From joined a known customer")
		}
		if again := p.Arrives(desktest.Proved(p.Mail("m3", "x@c.test", "Hi", "three"))); *again.CustomerID != *proved.CustomerID {
			t.Error("a proved address is another customer")
		}
		// Somebody unproved is answered, and what went to his address comes back from there.
		other := p.Arrives(p.Mail("m4", "y@c.test", "Hi", "four"))
		out := answerIn(t, w, p, a, other.InteractionID, desk.MessageInput{})
		back := p.Mail("m5", "y@c.test", "Re: Hi", "five")
		back.Marks = []string{out.Marks.Message, out.Marks.Conversation}
		m := p.Arrives(back)
		if m.ConversationID != other.ConversationID || *m.CustomerID != *other.CustomerID {
			t.Error("the answer is not the same customer's")
		}
		who, err := m.QuerySender().Only(w.Sys)
		ok(t, err)
		if who.Verification != "CHANNEL_PROVED" || who.Scope != "" || len(m.Warnings) > 0 {
			t.Errorf("the address is %s in %q, warnings %v", who.Verification, who.Scope, m.Warnings)
		}
		// A stranger with the mark joins the thread as a third party and is nobody else.
		strange := p.Mail("m6", "eve@evil.test", "Re: Hi", "six")
		strange.Marks = []string{out.Marks.Conversation}
		m = p.Arrives(strange)
		if m.ConversationID != other.ConversationID || *m.CustomerID == *other.CustomerID {
			t.Error("a stranger with the mark: not in the thread, or taken for the customer")
		}
		role, err := w.Store.Ent.Participant.Query().Where(participant.ConversationID(m.ConversationID), participant.CustomerID(*m.CustomerID)).Only(w.Sys)
		ok(t, err)
		if role.Role != participant.RoleTHIRD_PARTY {
			t.Errorf("the stranger takes part as %s", role.Role)
		}
		// A forged one is never proved by a mark.
		forged := p.Mail("m7", "y@c.test", "Re: Hi", "seven")
		forged.Marks, forged.Warnings = []string{out.Marks.Conversation}, []string{channels.WarnSenderForged}
		m = p.Arrives(forged)
		if who, err := m.QuerySender().Only(w.Sys); err != nil || who.Verification == "CHANNEL_PROVED" && who.Scope == "" {
			t.Errorf("a forged From was proved by a mark (%v)", err)
		}
	})
}

// The recipients of an answer are computed here, shown before it is written, and may be cut.
func TestAnswerToAll(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, a := w.Post(nil), agentOf(w)
		in := p.Mail("m1", "x@c.test", "AW: Re: Hi", "one")
		in.To = append(to("boss@c.test"), channels.Address{IdentityKey: channels.IdentityKey{Kind: channels.IdentityEmail, Value: "help@ours.test"}, Own: true})
		in.Cc = to("team@c.test", "boss@c.test", "x@c.test")
		m := p.Arrives(in)
		w.Serve(w.Interaction(m.InteractionID), a)
		c, err := w.Desk.Composer(a, w.Interaction(m.InteractionID))
		ok(t, err)
		if len(c.ReplyTo) != 1 || len(c.ReplyAllTo) != 3 || c.Subject != "Re: Hi" {
			t.Errorf("composer: %d, %d, %q", len(c.ReplyTo), len(c.ReplyAllTo), c.Subject)
		}
		check := func(what string, in desk.MessageInput, to, cc []string) {
			t.Helper()
			out := answerIn(t, w, p, a, m.InteractionID, in)
			if got := values(out.Recipients.To); !slices.Equal(got, to) {
				t.Errorf("%s: to %q, want %q", what, got, to)
			}
			if got := values(out.Recipients.Cc); !slices.Equal(got, cc) {
				t.Errorf("%s: cc %q, want %q", what, got, cc)
			}
		}
		check("an answer", desk.MessageInput{}, []string{"x@c.test"}, nil)
		check("to all", desk.MessageInput{ReplyAll: ptr(true)}, []string{"x@c.test"}, []string{"boss@c.test", "team@c.test"})
		check("cut", desk.MessageInput{Cc: []desk.RecipientInput{{Address: ptr("Boss@c.test")}}}, []string{"x@c.test"}, []string{"boss@c.test"})
		for _, bad := range []desk.RecipientInput{{}, {Address: ptr("nobody")}, {Address: ptr("A <a@b.test>")}, {IdentityID: ptr(gid.Make(gid.Identity))}, {Address: ptr("a@b.test\r\nBcc: c@d.test")}} {
			_, err := w.Desk.SendMessage(a, m.InteractionID, desk.MessageInput{Text: ptr("x"), To: []desk.RecipientInput{bad}}, nil)
			if x, refused := desk.RefusalOf(err); !refused || x.Code != desk.Invalid && x.Code != desk.NotFound {
				t.Errorf("%+v: %v", bad, err)
			}
		}
		// Where its sender asks answers to go, they go, with a warning that was shown.
		foreign := desktest.Answers(p.Mail("m2", "x@c.test", "Re: Hi", "two"), "m1")
		foreign.ReplyTo, foreign.Warnings = to("elsewhere@d.test"), []string{channels.WarnReplyToForeign}
		p.Arrives(foreign)
		c, err = w.Desk.Composer(a, w.Interaction(m.InteractionID))
		ok(t, err)
		if !slices.Contains(c.Warnings, channels.WarnReplyToForeign) || c.ReplyTo[0].Role != recipient.RoleTO {
			t.Errorf("composer: %+v", c)
		}
		check("a foreign Reply-To", desk.MessageInput{}, []string{"elsewhere@d.test"}, nil)
		// Channels with one recipient refuse recipients.
		b := w.Bridge(nil)
		i := w.Serve(b.Say("t", "u", "hi"), a)
		_, err = w.Desk.SendMessage(a, i.ID, desk.MessageInput{Text: ptr("x"), To: []desk.RecipientInput{{Address: ptr("a@b.test")}}}, nil)
		w.Refused(err, desk.Invalid)
	})
}

// A bounce is told by the mark of its delivery address, whatever else it says.
func TestABounceFindsItsMessage(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, a := w.Post(nil), agentOf(w)
		m := p.Arrives(p.Mail("m1", "x@c.test", "Hi", "one"))
		out := answerIn(t, w, p, a, m.InteractionID, desk.MessageInput{})
		p.Box.Add(channels.Inbound{
			Kind: channels.InboundDelivery, ExternalID: "dsn", Marks: []string{out.Marks.Delivery}, State: channels.DeliveryFailed, Reason: "5.1.1 no such user", Automatic: true,
			OccurredAt: w.Clock.Now(),
		})
		p.Pull()
		w.Work()
		sent, err := w.Store.Ent.Message.Query().Where(message.DirectionEQ(message.DirectionOUTBOUND)).Only(w.Sys)
		ok(t, err)
		if sent.Delivery != message.DeliveryFAILED || sent.DeliveryError.Message != "5.1.1 no such user" || *sent.RefID != out.Marks.Message+"@ours.test" {
			t.Errorf("the bounced message: %s %+v", sent.Delivery, sent.DeliveryError)
		}
	})
}

// The others have it: it is shown, and neither FAILED nor sent to them twice.
func TestABounceOfOneOfSeveralIsShown(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, a := w.Post(nil), agentOf(w)
		in := p.Mail("m1", "x@c.test", "Hi", "one")
		in.Cc = to("cc@c.test")
		i := w.Serve(w.Interaction(p.Arrives(in).InteractionID), a)
		report := func(m *ent.Message, state channels.DeliveryState, reason string) *ent.Message {
			p.Box.Add(channels.Inbound{
				Kind: channels.InboundDelivery, ExternalID: w.Unique("dsn"), MessageID: m.ID.String(), State: state, Reason: reason, Automatic: true, OccurredAt: w.Clock.Now(),
			})
			p.Pull()
			w.Work()
			return read(t, w, m.ID)
		}
		shown := func(m *ent.Message, delivery message.Delivery, reason string, final bool) {
			t.Helper()
			if m.Delivery != delivery || m.DeliveryError == nil || m.DeliveryError.Message != reason || m.DeliveryError.Permanent != final {
				t.Errorf("%s, shown as %+v, steps %+v", m.Delivery, m.DeliveryError, m.Steps)
			}
		}
		all, err := w.Desk.SendMessage(a, i.ID, desk.MessageInput{Text: ptr("to all"), ReplyAll: ptr(true)}, nil)
		ok(t, err)
		one, err := w.Desk.SendMessage(a, i.ID, desk.MessageInput{Text: ptr("to one")}, nil)
		ok(t, err)
		w.Work()
		shown(report(read(t, w, one.Message), channels.DeliveryFailed, "no such user"), message.DeliveryFAILED, "no such user", true)

		sent := read(t, w, all.Message)
		w.Clock.Add(time.Minute)
		m := report(sent, channels.DeliveryFailed, "no such user")
		shown(m, message.DeliverySENT, "no such user", false)
		if !m.SentAt.Equal(*sent.SentAt) {
			t.Errorf("sent %s, after the bounce %s", sent.SentAt, m.SentAt)
		}
		_, err = w.Desk.SendAgain(a, m.ID, nil)
		w.Refused(err, desk.WrongState)
		shown(report(m, channels.DeliveryDelivered, ""), message.DeliveryDELIVERED, "no such user", false)
		shown(report(m, channels.DeliveryFailed, "the mailbox is full"), message.DeliveryDELIVERED, "the mailbox is full", false)
	})
}

// One node fetches a stream at a time, batch and place are one transaction, and a holder that lost it stores nothing.
func TestAStreamIsFetchedByOne(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := w.Post(nil)
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			p.Box.Add(p.Mail(id, id+"@c.test", id, id))
		}
		old := p.Hold()
		if more, err := w.Store.Holds("other", time.Minute).Take(t.Context(), 10); err != nil || len(more) > 0 {
			t.Fatalf("a second holder: %v (%v)", more, err)
		}
		// It dies in the middle; another takes it up where its last batch was stored.
		ok(t, w.Store.Ent.Pull.Update().Where(pull.ChannelID(p.ID)).SetExpiresAt(time.Unix(0, 0)).Exec(w.Sys))
		p.Pull()
		if err := w.Desk.PullNow(t.Context(), old); err == nil {
			t.Error("a holder that lost its stream stored a batch")
		}
		w.Work()
		if n, err := w.Store.Ent.Message.Query().Count(w.Sys); err != nil || n != 5 {
			t.Errorf("%d messages (%v)", n, err)
		}
	})
}

// The running part fetches what comes, shows what fails, goes on when it is mended, and stops with the channel.
func TestThePullerFetches(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := w.Post(nil)
		row := func() *ent.Pull {
			r, err := w.Store.Ent.Pull.Query().Where(pull.ChannelID(p.ID)).Only(w.Sys)
			ok(t, err)
			return r
		}
		messages := func() int {
			w.Work()
			n, err := w.Store.Ent.Message.Query().Count(w.Sys)
			ok(t, err)
			return n
		}
		w.Puller()
		w.Eventually("it is watched", func() bool { return row().Watching })
		p.Box.Add(p.Mail("a", "a@c.test", "a", "a"))
		w.Eventually("it is fetched", func() bool { return messages() == 1 })
		p.Box.Fail(channels.AuthBroken(errors.New("no")).WithText("the login was refused"))
		p.Box.Add(p.Mail("b", "b@c.test", "b", "b"))
		w.Eventually("the failure is shown", func() bool { r := row(); return r.Error != nil && *r.Error == "the login was refused" })
		p.Box.Fail(nil)
		_, err := w.Desk.UpdateChannel(w.Admin, p.ID, desk.ChannelUpdateInput{Name: ptr(w.Unique("mended"))}, nil, nil)
		ok(t, err)
		w.Eventually("it goes on", func() bool { return messages() == 2 && row().Error == nil })
		_, err = w.Desk.PauseChannel(w.Admin, p.ID, nil, nil)
		ok(t, err)
		w.Eventually("nobody fetches", func() bool { r := row(); return !r.Active && !r.Watching })
		p.Box.Add(p.Mail("c", "c@c.test", "c", "c"))
		_, err = w.Desk.EnableChannel(w.Admin, p.ID, true, nil)
		ok(t, err)
		w.Eventually("it is fetched again", func() bool { return messages() == 3 })
	})
}
