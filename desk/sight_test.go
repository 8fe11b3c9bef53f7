package desk_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/ent/conversation"
	"tributary/ent/customer"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/offer"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// eachType calls f with the client of every type of the schema, so that a new type cannot be forgotten.
func eachType(db *ent.Client, f func(name string, client reflect.Value)) int {
	v, n := reflect.ValueOf(db).Elem(), 0
	for k := range v.NumField() {
		field := v.Type().Field(k)
		if field.IsExported() && strings.HasSuffix(field.Type.String(), "Client") {
			f(field.Name, v.Field(k))
			n++
		}
	}
	return n
}

func invoke(v reflect.Value, method string, args ...any) []reflect.Value {
	in := make([]reflect.Value, len(args))
	for n, a := range args {
		in[n] = reflect.ValueOf(a)
	}
	return v.MethodByName(method).Call(in)
}

func errOf(out []reflect.Value) error {
	err, _ := out[len(out)-1].Interface().(error)
	return err
}

func count(ctx context.Context, client reflect.Value) (int, error) {
	out := invoke(invoke(client, "Query")[0], "Count", ctx)
	return int(out[0].Int()), errOf(out)
}

// withoutWorkspace holds nothing of one: leadership of work over all workspaces, and who lives.
var withoutWorkspace = []string{"Lease", "ClusterNode"}

func TestWithoutAViewerEveryTypeRefusesQueriesAndMutations(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		n := eachType(w.Store.Ent, func(name string, client reflect.Value) {
			if slices.Contains(withoutWorkspace, name) {
				return
			}
			if _, err := count(t.Context(), client); !errors.Is(err, viewer.ErrNone) {
				t.Errorf("query of %s: %v", name, err)
			}
			for _, m := range []string{"Update", "Delete"} {
				if err := errOf(invoke(invoke(client, m)[0], "Exec", t.Context())); !errors.Is(err, viewer.ErrNone) {
					t.Errorf("%s of %s: %v", m, name, err)
				}
			}
			if err := errOf(invoke(invoke(client, "Create")[0], "Save", t.Context())); !errors.Is(err, viewer.ErrNone) {
				t.Errorf("creation of %s: %v", name, err)
			}
		})
		if n < 25 {
			t.Fatalf("only %d types were found", n)
		}
	})
}

func TestAVisitorReadsNoRowOfAnyType(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		v := w.Visitor(site(w))
		v.Say("hello")
		eachType(w.Store.Ent, func(name string, client reflect.Value) {
			var f *desk.Forbidden
			if n, err := count(v, client); !slices.Contains(withoutWorkspace, name) && !errors.As(err, &f) {
				t.Errorf("%s: %d rows, %v", name, n, err)
			}
		})
	})
}

func TestAViewerWithoutScopesReadsNothingButWhatEverybodyMay(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		a := w.Agent("Ann", w.Role("bare", "ALL"))
		w.Bridge(nil).Say("t1", "u1", "hello")
		for name, f := range map[string]func() error{
			"conversation": func() error { _, err := w.Store.Ent.Conversation.Query().All(a); return err },
			"message":      func() error { _, err := w.Store.Ent.Message.Query().All(a); return err },
			"customer":     func() error { _, err := w.Store.Ent.Customer.Query().All(a); return err },
			"identity":     func() error { _, err := w.Store.Ent.Identity.Query().All(a); return err },
			"key":          func() error { _, err := w.Store.Ent.APIKey.Query().All(a); return err },
			"raw inbound":  func() error { _, err := w.Store.Ent.RawInbound.Query().All(a); return err },
			"log":          func() error { _, err := w.Store.Ent.Event.Query().All(a); return err },
			"idempotency":  func() error { _, err := w.Store.Ent.IdempotencyKey.Query().All(a); return err },
		} {
			var f2 *desk.Forbidden
			if err := f(); !errors.As(err, &f2) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.Store.Ent.Agent.Query().All(a); err != nil {
			t.Errorf("colleagues are shown to everybody: %v", err)
		}
	})
}

// Whatever another workspace holds is absent: by list, by id, by edge and for every operation.
func TestAForeignWorkspaceIsAbsent(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		ann := w.Agent("Ann", "admin")
		i := b.Say("t1", "u1", "hello")
		o, _ := w.Offer(i, ann)
		other := w.Another()
		foreign := other.Admin
		own := map[string]int{}
		eachType(w.Store.Ent, func(name string, client reflect.Value) {
			if slices.Contains(withoutWorkspace, name) {
				return
			}
			sys, err := count(viewer.System(t.Context(), other.ID), client)
			if err != nil {
				t.Fatal(name, err)
			}
			own[name] = sys
		})
		for _, empty := range []string{"Conversation", "Interaction", "Message", "Customer", "Identity", "Offer", "Channel", "TimelineItem", "Job"} {
			if own[empty] != 0 {
				t.Errorf("%d rows of %s in a workspace without any", own[empty], empty)
			}
		}
		for name, f := range map[string]func() error{
			"conversation": func() error { _, err := w.Store.Ent.Conversation.Get(foreign, i.ConversationID); return err },
			"interaction":  func() error { _, err := w.Store.Ent.Interaction.Get(foreign, i.ID); return err },
			"offer":        func() error { _, err := w.Store.Ent.Offer.Get(foreign, o.ID); return err },
			"agent":        func() error { _, err := w.Store.Ent.Agent.Get(foreign, ann.ID); return err },
			"channel":      func() error { _, err := w.Store.Ent.Channel.Get(foreign, b.ID); return err },
			"workspace":    func() error { _, err := w.Store.Ent.Workspace.Get(foreign, w.ID); return err },
		} {
			if err := f(); !ent.IsNotFound(err) {
				t.Errorf("%s by id: %v", name, err)
			}
		}
		notFound(t, w, foreignOperations(w, foreign, i, o, ann, b))
		if n, err := w.Store.Ent.Conversation.Update().SetSubject("stolen").Save(foreign); err != nil || n != 0 {
			t.Errorf("a bare update changed %d rows (%v)", n, err)
		}
		if n, err := w.Store.Ent.Message.Delete().Exec(foreign); err != nil || n != 0 {
			t.Errorf("a bare delete took %d rows (%v)", n, err)
		}
	})
}

func foreignOperations(w *desktest.World, foreign context.Context, i *ent.Interaction, o *ent.Offer, ann *desktest.Agent, b *desktest.Bridge) map[string]error {
	out := map[string]error{}
	note := func(name string, _ any, err error) { out[name] = err }
	d := w.Desk
	id, err := d.Claim(foreign, i.ID, nil)
	note("claim", id, err)
	id, err = d.AcceptOffer(foreign, o.ID, nil)
	note("accept", id, err)
	r, err := d.Resolve(foreign, i.ConversationID, nil, nil, nil)
	note("resolve", r, err)
	s, err := d.SendMessage(foreign, i.ID, desk.MessageInput{Text: ptr("stolen")}, nil)
	note("send", s, err)
	id, err = d.UpdateCustomer(foreign, i.CustomerID, desk.CustomerUpdateInput{DisplayName: ptr("stolen")}, nil, nil)
	note("customer", id, err)
	id, err = d.UpdateAgent(foreign, ann.ID, desk.AgentUpdateInput{DisplayName: ptr("stolen")}, nil, nil)
	note("agent", id, err)
	id, err = d.EnableChannel(foreign, b.ID, false, nil)
	note("channel", id, err)
	id, err = d.UpdateQueue(foreign, w.Queue, desk.QueueUpdateInput{Name: ptr("stolen")}, nil, nil)
	note("queue", id, err)
	id, err = d.EndSession(foreign, &ann.Session, nil)
	note("session", id, err)
	id, err = d.CreateQueue(foreign, desk.QueueCreateInput{Name: "q", TeamID: ptr(gid.Make(gid.Team))}, nil)
	note("queue of an absent team", id, err)
	return out
}

func notFound(t *testing.T, w *desktest.World, got map[string]error) {
	t.Helper()
	for name, err := range got {
		if r, ok := desk.RefusalOf(err); !ok || r.Code != desk.NotFound {
			t.Errorf("%s: %v, want NOT_FOUND", name, err)
		}
	}
}

// seen is every way on which a conversation can be reached.
func seen(t *testing.T, w *desktest.World, ctx context.Context, i *ent.Interaction) map[string]int {
	t.Helper()
	db, out := w.Store.Ent, map[string]int{}
	note := func(name string, n int, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = n
	}
	size := func(name string, rows any, err error) { t.Helper(); note(name, reflect.ValueOf(rows).Len(), err) }
	list, _, err := w.Desk.Conversations(ctx, nil, nil)
	ok(t, err)
	rows, err := list.Where(conversation.ID(i.ConversationID)).All(ctx)
	size("list", rows, err)
	q, err := w.Desk.Conversation(ctx, i.ConversationID)
	ok(t, err)
	n, err := q.Count(ctx)
	note("node and count", n, err)
	page1, err := db.Conversation.Query().Where(conversation.ID(i.ConversationID)).Page(ctx, page.Order{Column: "id"}, nil, nil, nil, nil)
	ok(t, err)
	n, err = page1.TotalCount(ctx)
	note("totalCount", n, err)
	cs, err := db.Customer.Query().Where(customer.ID(i.CustomerID)).QueryConversations().Where(conversation.ID(i.ConversationID)).All(ctx)
	size("edge of the customer", cs, err)
	eager, err := db.Customer.Query().Where(customer.ID(i.CustomerID)).WithConversations().WithTimeline().Only(ctx)
	ok(t, err)
	note("eager edge", len(eager.Edges.Conversations), nil)
	note("timeline of the customer", len(eager.Edges.Timeline), nil)
	is, err := db.Interaction.Query().Where(interaction.ID(i.ID)).All(ctx)
	size("interaction", is, err)
	ms, err := db.Message.Query().Where(message.InteractionID(i.ID)).All(ctx)
	size("message", ms, err)
	ts, err := db.TimelineItem.Query().Where(timelineitem.ConversationID(i.ConversationID)).All(ctx)
	size("timeline item", ts, err)
	ps, err := db.Participant.Query().All(ctx)
	size("participant", ps, err)
	as, err := db.Assignment.Query().All(ctx)
	size("assignment", as, err)
	fs, err := db.Attachment.Query().Where(attachment.MessageIDNotNil()).All(ctx)
	size("attachment", fs, err)
	return out
}

func attached(t *testing.T, w *desktest.World, i *ent.Interaction) {
	t.Helper()
	m, err := w.Store.Ent.Message.Query().Where(message.InteractionID(i.ID)).First(w.Sys)
	ok(t, err)
	ok(t, w.Store.Ent.Attachment.Create().SetName("x.png").SetMessageID(m.ID).Exec(w.Sys))
}

func TestReachTEAMSSeesItsTeamsQueuesWithSubTeamsByEveryWay(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		parent := w.Team("parent")
		team, elsewhere := w.Team("team", parent), w.Team("elsewhere")
		q := w.QueueOf(desk.QueueCreateInput{TeamID: &team})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		server := w.Agent("Server", "agent", team)
		i := w.Serve(b.Say("t1", "u1", "hello"), server)
		attached(t, w, i)
		for name, a := range map[string]*desktest.Agent{"member": w.Agent("M", "agent", team), "member of the parent": w.Agent("P", "agent", parent), "server": server, "all": w.Admin} {
			for way, n := range seen(t, w, a, i) {
				if n == 0 {
					t.Errorf("%s does not see by %s", name, way)
				}
			}
		}
		stranger := w.Agent("S", "agent", elsewhere)
		for way, n := range seen(t, w, stranger, i) {
			if n != 0 {
				t.Errorf("a stranger sees by %s: %d", way, n)
			}
		}
		_, err := w.Desk.Claim(stranger, i.ID, nil)
		w.Refused(err, desk.NotFound)
		_, err = w.Desk.SendMessage(stranger, i.ID, desk.MessageInput{Text: ptr("hi")}, nil)
		w.Refused(err, desk.NotFound)
		// The negative control: without the predicate the same questions find it all.
		for way, n := range seen(t, w, viewer.System(t.Context(), w.ID), i) {
			if n == 0 {
				t.Errorf("the control finds nothing by %s: the test proves nothing", way)
			}
		}
	})
}

func TestReachOWNSeesWhatItOwnsServesServedOrIsOffered(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		own := w.Role("own", "OWN", desktest.Serving...)
		team := w.Team("team")
		q := w.QueueOf(desk.QueueCreateInput{TeamID: &team})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		ann, bob := w.Agent("Ann", own, team), w.Agent("Bob", own, team)
		i := b.Say("t1", "u1", "hello")
		attached(t, w, i)
		for way, n := range seen(t, w, ann, i) {
			if n != 0 {
				t.Errorf("before the offer by %s: %d (a team gives nothing to reach OWN)", way, n)
			}
		}
		w.Offer(i, ann)
		if n := seen(t, w, ann, i); n["list"] != 1 || n["message"] != 1 || n["attachment"] != 1 {
			t.Errorf("a pending offer shows the matter: %v", n)
		}
		o, err := w.Store.Ent.Offer.Query().Only(w.Sys)
		ok(t, err)
		if n, err := w.Store.Ent.Offer.Query().Where(offer.ID(o.ID)).Count(bob); err != nil || n != 0 {
			t.Errorf("another's offer is seen: %d, %v", n, err)
		}
		_, err = w.Desk.DeclineOffer(ann, o.ID, nil, nil)
		ok(t, err)
		for way, n := range seen(t, w, ann, i) {
			if n != 0 {
				t.Errorf("after the decline by %s: %d", way, n)
			}
		}
		w.Serve(i, ann)
		_, err = w.Desk.Release(ann, i.ID, nil, nil)
		ok(t, err)
		if n := seen(t, w, ann, i); n["list"] != 1 || n["timeline item"] == 0 {
			t.Errorf("who once served sees on: %v", n)
		}
		if n := seen(t, w, bob, i); n["list"] != 0 {
			t.Errorf("Bob sees: %v", n)
		}
	})
}

func TestAnExpiredOfferEndsSightAtOnceAndTheLogSaysSo(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		i := w.Bridge(nil).Say("t1", "u1", "hello")
		w.Offer(i, ann)
		if c := w.Conversation(i.ConversationID); !slices.Contains(c.Audience, ann.ID) {
			t.Fatal("the offered agent is in the audience")
		}
		w.Clock.Add(31 * 1e9)
		w.Work()
		if n := seen(t, w, ann, i); n["list"] != 0 || n["message"] != 0 {
			t.Errorf("after the expiry: %v", n)
		}
		if c := w.Conversation(i.ConversationID); slices.Contains(c.Audience, ann.ID) {
			t.Error("the audience still names the agent")
		}
		created, closed, removed := 0, 0, 0
		for _, e := range w.Log() {
			if !slices.Contains(e.Audience, ann.ID) {
				continue
			}
			switch desk.EventType(e.Type) {
			case desk.OfferCreated:
				created = int(e.Seq)
			case desk.OfferClosed:
				closed = int(e.Seq)
			case desk.ConversationRemoved:
				removed = int(e.Seq)
			}
		}
		if created == 0 || closed <= created || removed <= closed {
			t.Errorf("offer created at %d, closed at %d, conversation removed at %d", created, closed, removed)
		}
	})
}

// Sessions of others are out of sight without PEOPLE_WRITE.
func TestSessionsOfOthersAreOutOfSight(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		if n, err := w.Store.Ent.Session.Query().Count(ann); err != nil || n != 1 {
			t.Errorf("Ann sees %d sessions (%v)", n, err)
		}
		_, err := w.Desk.EndSession(ann, &bob.Session, nil)
		w.Refused(err, desk.NotFound)
		_, err = w.Desk.EndSession(w.Admin, &bob.Session, nil)
		ok(t, err)
		if _, err := w.Desk.StillStands(t.Context(), bob.Viewer()); !errors.Is(err, desk.ErrUnauthenticated) {
			t.Errorf("an ended session: %v", err)
		}
	})
}
