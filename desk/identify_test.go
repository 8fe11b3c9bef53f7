package desk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"entgo.io/ent/dialect"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/customer"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// identified proves a visitor, who goes on as what comes back.
func identified(t *testing.T, w *desktest.World, v *desktest.Visitor, customer string) *desktest.Visitor {
	t.Helper()
	n, err := v.Identify(w.TokenOf(customer, nil))
	ok(t, err)
	return n
}

// matters is everything that the end state of a story consists of, without what counts or names rows.
func matters(t *testing.T, w *desktest.World, v *desktest.Visitor) string {
	t.Helper()
	var out []string
	cs, err := w.Store.Ent.Customer.Query().Where(customer.MergedIntoIDIsNil()).WithIdentities().All(w.Sys)
	ok(t, err)
	for _, c := range cs {
		var ids []string
		for _, i := range c.Edges.Identities {
			value := i.Value.Clear()
			if i.Kind == "visitor_id" {
				value = "of a browser"
			}
			ids = append(ids, fmt.Sprint(i.Kind, " ", value, " ", i.Verification))
		}
		slices.Sort(ids)
		out = append(out, fmt.Sprintf("customer %q: %s", c.DisplayName, strings.Join(ids, "; ")))
	}
	convs, err := w.Store.Ent.Conversation.Query().Where(conversation.MergedIntoIDIsNil()).WithOwner().WithLastMessage().WithParticipants(func(q *ent.ParticipantQuery) { q.WithIdentity() }).
		WithInteractions(func(q *ent.InteractionQuery) {
			q.Where(interaction.LastNumberGT(0)).WithMessages(func(q *ent.MessageQuery) { q.Order(ent.Asc("number")) }).WithIdentity().WithAgent().WithOpenOffer()
		}).WithTimeline().All(w.Sys)
	ok(t, err)
	for _, c := range convs {
		out = append(out, matter(t, c))
	}
	slices.Sort(out)
	if v != nil {
		chat, err := w.Desk.VisitorChat(v)
		ok(t, err)
		out = append(out, fmt.Sprintf("visible: %s; %s, %d unread", strings.Join(texts(t, w, v), "; "), chat.State, chat.UnreadCount))
	}
	return strings.Join(out, "\n")
}

func matter(t *testing.T, c *ent.Conversation) string {
	t.Helper()
	var ps, is []string
	for _, p := range c.Edges.Participants {
		ps = append(ps, fmt.Sprint(p.Edges.Identity.Kind, " ", p.Role))
	}
	said := 0
	for _, i := range c.Edges.Interactions {
		var ms []string
		for n, m := range i.Edges.Messages {
			if m.Number != n+1 || m.ConversationID != c.ID || m.Direction == "INBOUND" && *m.CustomerID != c.CustomerID {
				t.Errorf("wrong: %+v", m)
			}
			ms = append(ms, *m.Text)
		}
		said += len(ms)
		agent := "nobody"
		if a := i.Edges.Agent; a != nil {
			agent = a.DisplayName
		}
		is = append(is, fmt.Sprint(i.ChannelKind, " ", i.State, " by ", i.Edges.Identity.Kind, " served by ", agent, " offered ", i.Edges.OpenOffer != nil, ": ", strings.Join(ms, ", ")))
	}
	slices.Sort(ps)
	slices.Sort(is)
	told := 0
	for _, item := range c.Edges.Timeline {
		if item.Type == "MESSAGE" {
			told++
		}
	}
	owner, last := "nobody", ""
	if o := c.Edges.Owner; o != nil {
		owner = o.DisplayName
	}
	if m := c.Edges.LastMessage; m != nil {
		last = *m.Text
	}
	return fmt.Sprintf("conversation %s of %s, waits %t, last %q, %d in the timeline of %d; %s; %s", c.State, owner, c.WaitingSince != nil, last, told, said, strings.Join(ps, ", "), strings.Join(is, " | "))
}

// story is told with the proof at one place of it.
type story struct {
	name   string
	before func(*teller) // what the known customer did before
	then   []func(*teller)
	merge  bool // a person follows what is suggested
}

type teller struct {
	t    *testing.T
	w    *desktest.World
	b    *desktest.Bridge
	v    *desktest.Visitor
	ann  *desktest.Agent
	chat gid.ID
}

func says(text string) func(*teller) {
	return func(s *teller) { s.chat = s.v.Say(text).ID; s.w.Clock.Add(time.Minute) }
}

func writes(thread, text string) func(*teller) {
	return func(s *teller) {
		m := s.b.Text(s.w.Unique("event"), thread, "bridge-user", text)
		m["from"] = desktest.M{"id": "bridge-user", "name": "Li", "customerId": "c-1"}
		ok(s.t, s.b.Deliver(m))
		s.w.Work()
		s.w.Clock.Add(time.Minute)
	}
}

func offered(s *teller) { _, r := s.w.Offer(s.w.Interaction(s.chat), s.ann); _ = r }

func served(s *teller) { s.w.Serve(s.w.Interaction(s.chat), s.ann) }

func answers(text string) func(*teller) {
	return func(s *teller) { s.ann.Reply(s.w.Interaction(s.chat), text); s.w.Clock.Add(time.Minute) }
}

// MODEL 4: identified first or later, the end state is the same.
func TestIdentifiedFirstOrLaterIsTheSame(t *testing.T) {
	stories := []story{
		{name: "nobody knew him", then: []func(*teller){says("one"), says("two")}},
		{name: "known by the bridge, nothing open", before: func(s *teller) {
			writes("t1", "before")(s)
			resolved(s.t, s.w, s.thread())
		}, then: []func(*teller){says("one"), says("two")}},
		{name: "known by the bridge, a matter open", before: writes("t1", "before"), then: []func(*teller){says("one"), says("two")}},
		{name: "becomes known by the bridge", then: []func(*teller){says("one"), writes("t1", "by the bridge"), says("two")}},
		{name: "offered", before: writes("t1", "before"), then: []func(*teller){says("one"), offered, says("two")}},
		{name: "served, answered, by nobody known", then: []func(*teller){says("one"), served, answers("yes?"), says("two")}},
		{name: "served, and a person follows what is suggested", before: writes("t1", "before"), merge: true, then: []func(*teller){says("one"), served, answers("yes?"), says("two")}},
		{name: "another browser chats already", before: func(s *teller) {
			v := identified(s.t, s.w, s.w.Visitor(s.site()), "c-1")
			v.Say("from another browser")
			s.w.Clock.Add(time.Minute)
		}, then: []func(*teller){says("one"), says("two")}},
		{name: "another browser's chat is over", before: func(s *teller) {
			v := identified(s.t, s.w, s.w.Visitor(s.site()), "c-1")
			i := s.w.Serve(v.Say("an old question"), s.ann)
			s.ann.Reply(i, "an old answer")
			resolved(s.t, s.w, i)
			s.w.Clock.Add(time.Hour)
		}, then: []func(*teller){says("one"), says("two")}},
	}
	for _, st := range stories {
		t.Run(st.name, func(t *testing.T) {
			each(t, func(t *testing.T, w *desktest.World) {
				want := ""
				for at := 0; at <= len(st.then); at++ {
					got := st.tell(t, w.Another(), at)
					if at == 0 {
						want = got
					}
					if got != want {
						t.Errorf("proved after %d steps:\n%s\nbefore all of them:\n%s", at, got, want)
					}
				}
				t.Log(want)
			})
		})
	}
}

func (s *teller) site() *ent.Channel {
	c, err := s.w.Store.Ent.Channel.Query().Where().All(s.w.Sys)
	ok(s.t, err)
	for _, ch := range c {
		if ch.Kind == "webchat" {
			return ch
		}
	}
	return s.w.SignedSite()
}

func (s *teller) thread() *ent.Interaction {
	rows, err := s.w.Store.Ent.Interaction.Query().Where(interaction.ChannelID(s.b.ID)).All(s.w.Sys)
	ok(s.t, err)
	return rows[len(rows)-1]
}

func (st story) tell(t *testing.T, w *desktest.World, at int) string {
	t.Helper()
	w.SignedSite()
	s := &teller{t: t, w: w, b: w.Bridge(nil), ann: w.Agent("Ann", "agent")}
	if st.before != nil {
		st.before(s)
	}
	s.v = w.Visitor(s.site())
	for n, step := range st.then {
		if n == at {
			s.v = identified(t, w, s.v, "c-1")
		}
		step(s)
	}
	if at == len(st.then) {
		s.v = identified(t, w, s.v, "c-1")
	}
	if st.merge {
		followSuggestions(t, w)
	}
	balanced(t, w, s.ann)
	return matters(t, w, s.v)
}

// followSuggestions merges what is suggested, as a person does.
func followSuggestions(t *testing.T, w *desktest.World) {
	t.Helper()
	rows, err := w.Store.Ent.MergeSuggestion.Query().All(w.Sys)
	ok(t, err)
	if len(rows) == 0 {
		return
	}
	_, err = w.Desk.MergeConversations(w.Admin, rows[0].ConversationID, []gid.ID{rows[0].MergeSuggestionID}, nil)
	ok(t, err)
	if n, err := w.Store.Ent.MergeSuggestion.Query().Count(w.Sys); err != nil || n != 0 {
		t.Fatalf("%d suggestions are left (%v)", n, err)
	}
}

// balanced asserts that the agents' loads are the sum of what they carry, and that one conversation costs a server once.
func balanced(t *testing.T, w *desktest.World, agents ...*desktest.Agent) {
	t.Helper()
	for _, a := range agents {
		units, count, carriers := 0, 0, map[gid.ID]int{}
		rows, err := w.Store.Ent.Interaction.Query().Where(interaction.AgentID(a.ID), interaction.StateIn(interaction.StateACTIVE, interaction.StateWRAP_UP)).All(w.Sys)
		ok(t, err)
		for _, i := range rows {
			units, count = units+i.Cost, count+1
			if i.Cost > 0 {
				carriers[i.ConversationID]++
			}
		}
		for _, i := range rows {
			if carriers[i.ConversationID] != 1 {
				t.Errorf("%d contacts of one conversation cost its server", carriers[i.ConversationID])
			}
		}
		os, err := w.Store.Ent.Offer.Query().Where(offer.AgentID(a.ID), offer.StateEQ(offer.StatePENDING)).All(w.Sys)
		ok(t, err)
		for _, o := range os {
			units, count = units+o.Cost, count+1
		}
		kinds := 0
		l := a.Load()
		for _, n := range l.UsedBy {
			kinds += n
		}
		if l.Used != units || l.Count != count || kinds != units {
			t.Errorf("carries used %d, count %d, by kind %v; serves and is offered %d and %d", l.Used, l.Count, l.UsedBy, units, count)
		}
	}
}

// The custom channel's sender who brings the operator's id late is the same story.
func TestASenderWhoBringsHisCustomerIdLateBecomesTheKnownCustomer(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		tell := func(w *desktest.World, late bool) string {
			b := w.Bridge(nil)
			v := identified(t, w, w.Visitor(w.SignedSite()), "c-1")
			v.Say("in the chat")
			who := desktest.M{"id": "u1", "name": ""}
			for n := range 2 {
				if !late || n == 1 {
					who["customerId"] = "c-1"
				}
				from(t, w, b, "t1", who)
			}
			return matters(t, w, v)
		}
		if first, late := tell(w.Another(), false), tell(w.Another(), true); first != late {
			t.Errorf("late:\n%s\nfirst:\n%s", late, first)
		} else {
			t.Log(first)
		}
	})
}

func TestAnotherExternalIdNeverJoins(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s, b := w.SignedSite(), w.Bridge(nil)
		v := identified(t, w, w.Visitor(s), "c-1")
		v.Say("mine")
		_, err := v.Identify(w.TokenOf("c-2", nil))
		w.Refused(err, desk.NotAllowed)
		// The same computer, another customer: a new visit that shows nothing.
		other, err := w.Visit(s, func(in *desk.VisitorSessionInput) {
			in.VisitorToken, in.IdentityToken = &v.Secret, ptr(w.TokenOf("c-2", nil))
		})
		ok(t, err)
		if other.Viewer().Actor == v.Viewer().Actor || len(texts(t, w, other)) != 0 {
			t.Fatal("two external ids became one customer")
		}
		// Whom a person took for c-1 proves to be c-2: refused, he stays who he is.
		anon := w.Visitor(s)
		anon.Say("who am I?")
		_, err = w.Desk.MergeCustomers(w.Admin, v.Viewer().Actor, []gid.ID{anon.Viewer().Actor}, nil, nil, nil)
		ok(t, err)
		_, err = anon.Identify(w.TokenOf("c-2", nil))
		w.Refused(err, desk.NotAllowed)
		i := from(t, w, b, "t1", desktest.M{"id": "u1", "customerId": "c-1"})
		from(t, w, b, "t1", desktest.M{"id": "u1", "customerId": "c-2"})
		if n, err := w.Store.Ent.Identity.Query().Where(identity.CustomerID(i.CustomerID), identity.Kind("external_id")).Count(w.Sys); err != nil || n != 1 {
			t.Fatalf("%d external ids (%v)", n, err)
		}
	})
}

// Whoever had the anonymous visit's token or secret does not become the known customer with it.
func TestAnOldTokenIsVoidOnceTheVisitorIsKnown(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s := w.SignedSite()
		v := w.Visitor(s)
		v.Say("hello")
		n := identified(t, w, v, "c-1")
		n.Say("a secret")
		if _, err := w.Desk.Authenticate(t.Context(), v.Token); !errors.Is(err, desk.ErrUnauthenticated) {
			t.Fatalf("the old token: %v", err)
		}
		// On a node that remembers the old viewer for a moment more.
		_, err := w.Desk.VisitorSays(v, desk.VisitorMessageInput{Text: ptr("as if")}, nil)
		if !errors.Is(err, viewer.ErrNone) {
			t.Fatalf("the old viewer writes: %v", err)
		}
		if got := texts(t, w, v); len(got) != 0 {
			t.Fatalf("the old viewer reads %q", got)
		}
		back, err := w.Visit(s, func(in *desk.VisitorSessionInput) { in.VisitorToken = &v.Secret })
		ok(t, err)
		if back.Viewer().Actor == n.Viewer().Actor {
			t.Fatal("the old secret brings back the known customer")
		}
		again, err := w.Visit(s, func(in *desk.VisitorSessionInput) { in.VisitorToken = &n.Secret })
		ok(t, err)
		if got := texts(t, w, again); !slices.Equal(got, []string{"hello", "a secret"}) {
			t.Fatalf("the new secret shows %q", got)
		}
	})
}

// A returning browser with both tokens is the same operation.
func TestAReturningBrowserWithASignedTokenBringsItsChatAlong(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s := w.SignedSite()
		v := w.Visitor(s)
		v.Say("hello")
		n, err := w.Visit(s, func(in *desk.VisitorSessionInput) {
			in.VisitorToken, in.IdentityToken = &v.Secret, ptr(w.TokenOf("c-1", nil))
		})
		ok(t, err)
		if got := texts(t, w, n); !slices.Equal(got, []string{"hello"}) {
			t.Fatalf("shows %q", got)
		}
		elsewhere, err := w.Visit(s, func(in *desk.VisitorSessionInput) { in.IdentityToken = ptr(w.TokenOf("c-1", nil)) })
		ok(t, err)
		if got := texts(t, w, elsewhere); !slices.Equal(got, []string{"hello"}) {
			t.Fatalf("another browser shows %q", got)
		}
	})
}

// A call repeated across the proof has one effect.
func TestAMessageRepeatedAcrossTheProofIsSaidOnce(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		v := w.Visitor(w.SignedSite())
		in, key := desk.VisitorMessageInput{Text: ptr("once")}, "key"
		_, err := w.Desk.VisitorSays(v, in, &key)
		ok(t, err)
		n := identified(t, w, v, "c-1")
		_, err = w.Desk.VisitorSays(n, in, &key)
		ok(t, err)
		if got := texts(t, w, n); len(got) != 1 {
			t.Fatalf("said %q", got)
		}
	})
}

// Nothing is served away from two who serve; both hear of it.
func TestTwoWhoServeAreToldAndNothingIsTakenAway(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s, ann, bob := w.SignedSite(), w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		b := w.Bridge(nil)
		known := w.Serve(from(t, w, b, "t1", desktest.M{"id": "u1", "customerId": "c-1"}), ann)
		v := w.Visitor(s)
		chat := w.Serve(v.Say("hello"), bob)
		v = identified(t, w, v, "c-1")
		for _, x := range []struct {
			i *ent.Interaction
			a *desktest.Agent
		}{{known, ann}, {chat, bob}} {
			n := w.Interaction(x.i.ID)
			if n.ConversationID != x.i.ConversationID || n.State != interaction.StateACTIVE || !is(n.AgentID, x.a.ID) {
				t.Fatalf("%s, in %v", n.State, n.ConversationID)
			}
			carries(t, x.a, 1, 1)
			told := slices.ContainsFunc(w.Log(), func(e *ent.Event) bool {
				return e.Type == string(desk.ConversationUpdated) && slices.Contains(e.Changed, "mergeSuggestions") && is(e.ConversationID, n.ConversationID) && slices.Contains(e.Audience, x.a.ID)
			})
			if !told {
				t.Error("a server was not told")
			}
		}
		// Who answers reaches the visitor, and the visitor reaches the one who serves him.
		bob.Reply(chat, "an answer")
		if n := v.Say("thanks"); n.ID != chat.ID {
			t.Fatal("the visitor's next word goes to who serves him")
		}
		if got := texts(t, w, v); len(got) != 3 {
			t.Fatalf("the visitor reads %q", got)
		}
	})
}

// Identify against accept: exactly one of the two outcomes.
func TestIdentifyAndAcceptAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s, ann, b := w.SignedSite(), w.Agent("Ann", "agent"), w.Bridge(nil)
		moved, suggested := 0, 0
		for n := range 12 {
			id := fmt.Sprint("c-", n)
			known := from(t, w, b, fmt.Sprint("t", n), desktest.M{"id": fmt.Sprint("u", n), "customerId": id})
			v := w.Visitor(s)
			chat := v.Say("hello")
			o, _ := w.Offer(chat, ann)
			if o == nil {
				t.Fatal("no offer")
			}
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := w.Desk.AcceptOffer(ann, o.ID, nil); err != nil {
					t.Error("accept: ", err)
				}
			})
			all.Go(func() {
				if _, err := v.Identify(w.TokenOf(id, nil)); err != nil {
					t.Error("identify: ", err)
				}
			})
			all.Wait()
			i := w.Interaction(chat.ID)
			inState(t, i, interaction.StateACTIVE)
			sug, err := w.Store.Ent.MergeSuggestion.Query().Count(w.Sys)
			ok(t, err)
			switch {
			case i.ConversationID == known.ConversationID && sug == 0:
				moved++
			case i.ConversationID == chat.ConversationID && sug == 2:
				suggested++
			default:
				t.Fatalf("both or neither: moved %t, %d suggestions", i.ConversationID == known.ConversationID, sug)
			}
			balanced(t, w, ann)
			_, err = w.Store.Ent.MergeSuggestion.Delete().Exec(w.Sys)
			ok(t, err)
			_, err = w.Desk.Resolve(w.Admin, i.ConversationID, &desk.ResolveInput{EndOthers: ptr(true)}, nil, nil)
			ok(t, err)
			carries(t, ann, 0, 0)
		}
		t.Logf("%d moved, %d suggested", moved, suggested)
	})
}

// Browsers that prove the same customer at once, while they and his bridge write, end as one customer with everything.
func TestBrowsersIdentifyAtOnceWhileAllWrite(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s, b := w.SignedSite(), w.Bridge(nil)
		const browsers = 4
		var all sync.WaitGroup
		said := make([][]string, browsers)
		for n := range browsers {
			v := w.Visitor(s)
			first := fmt.Sprint("hello from ", n)
			v.Say(first)
			said[n] = append(said[n], first)
			all.Go(func() {
				text := fmt.Sprint("meanwhile from ", n)
				if _, err := w.Desk.VisitorSays(v, desk.VisitorMessageInput{Text: &text}, nil); err == nil {
					said[n] = append(said[n], text)
				} else if !errors.Is(err, viewer.ErrNone) {
					t.Error("say: ", err)
				}
			})
			all.Go(func() {
				if _, err := v.Identify(w.TokenOf("c-1", nil)); err != nil {
					t.Error("identify: ", err)
				}
			})
			m := b.Text(w.Unique("event"), fmt.Sprint("t", n), "u1", "by the bridge")
			m["from"] = desktest.M{"id": "u1", "customerId": "c-1"}
			ok(t, b.Deliver(m))
		}
		all.Go(w.Work)
		all.Wait()
		w.Eventually("all is served in", func() bool {
			n, err := w.Store.Ent.Message.Query().Count(w.Sys)
			ok(t, err)
			if n < len(slices.Concat(said...))+browsers {
				w.Clock.Add(2 * time.Second)
				w.Work()
			}
			return n == len(slices.Concat(said...))+browsers
		})
		v, err := w.Visit(s, func(in *desk.VisitorSessionInput) { in.IdentityToken = ptr(w.TokenOf("c-1", nil)) })
		ok(t, err)
		got, want := texts(t, w, v), slices.Concat(said...)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the customer reads %q, said %q", got, want)
		}
		if n, err := w.Store.Ent.Customer.Query().Where(customer.MergedIntoIDIsNil()).Count(w.Sys); err != nil || n != 1 {
			t.Errorf("%d customers (%v)\n%s", n, err, matters(t, w, v))
		}
		open, err := w.Store.Ent.Interaction.Query().Where(interaction.ChannelID(s.ID), interaction.StateNEQ(interaction.StateENDED)).Count(w.Sys)
		ok(t, err)
		if open != 1 {
			t.Errorf("%d open chats of one visitor", open)
		}
		matters(t, w, v)
	})
}

// A word that was on its way when its visitor became known is refused, not said under the void identity: he says it again
// under his new token.
func TestAWordThatWaitsForTheProofIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		if w.Store.Dialect != dialect.Postgres {
			t.Skip("one writer at a time: nobody waits in the middle")
		}
		v := w.Visitor(w.SignedSite())
		i := v.Say("hello")
		var all sync.WaitGroup
		var n *desktest.Visitor
		var proof, word error
		ok(t, w.Store.Tx(w.Sys, func(ctx context.Context, tx *ent.Tx) error {
			if _, err := tx.Conversation.Query().Where(conversation.ID(i.ConversationID)).ForUpdate().Only(ctx); err != nil {
				return err
			}
			all.Go(func() { n, proof = v.Identify(w.TokenOf("c-1", nil)) })
			w.Waiting(1)
			all.Go(func() { _, word = w.Desk.VisitorSays(v, desk.VisitorMessageInput{Text: ptr("late")}, nil) })
			w.Waiting(2)
			return nil
		}))
		all.Wait()
		ok(t, proof)
		if !errors.Is(word, viewer.ErrNone) {
			t.Fatalf("the late word: %v", word)
		}
		n.Say("late")
		if got := texts(t, w, n); !slices.Equal(got, []string{"hello", "late"}) {
			t.Fatalf("reads %q", got)
		}
	})
}
