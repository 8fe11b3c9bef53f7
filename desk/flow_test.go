package desk_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tributary/channels/voice"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/internal/gid"
)

// greeting is a draft: a word of welcome, a menu of two, and ends for both.
func greeting(queue, prompt *gid.ID) desk.FlowDraftInput {
	exit := func(on, to string) desk.FlowExitInput { return desk.FlowExitInput{On: on, To: to} }
	return desk.FlowDraftInput{StartKey: "hello", Nodes: []desk.FlowNodeInput{
		{Key: "hello", Kind: desk.FlowPrompt, Sound: ptr(desk.SoundWelcome), Title: ptr("Welcome"), Exits: []desk.FlowExitInput{exit("done", "menu")}},
		{
			Key: "menu", Kind: desk.FlowMenu, PromptID: prompt, TimeoutSeconds: ptr(7), Tries: ptr(2),
			Exits: []desk.FlowExitInput{exit("1", "sales"), exit("2", "menu"), exit("timeout", "bye"), exit("invalid", "bye")},
		},
		{Key: "sales", Kind: desk.FlowQueue, QueueID: queue},
		{Key: "bye", Kind: desk.FlowHangUp},
	}}
}

func newFlow(t *testing.T, w *desktest.World) gid.ID {
	t.Helper()
	id, err := w.Desk.CreateFlow(w.Admin, desk.FlowCreateInput{Name: w.Unique("flow")}, nil)
	ok(t, err)
	return id
}

func flowRow(t *testing.T, w *desktest.World, id gid.ID) *ent.Flow {
	t.Helper()
	f, err := w.Store.Ent.Flow.Get(w.Sys, id)
	ok(t, err)
	return f
}

// draft saves a draft and returns its version.
func draft(t *testing.T, w *desktest.World, id gid.ID, in desk.FlowDraftInput) *ent.FlowVersion {
	t.Helper()
	_, err := w.Desk.SaveDraft(w.Admin, id, in, nil, nil)
	ok(t, err)
	v, err := w.Store.Ent.FlowVersion.Get(w.Sys, *flowRow(t, w, id).DraftID)
	ok(t, err)
	return v
}

func publish(t *testing.T, w *desktest.World, v *ent.FlowVersion) {
	t.Helper()
	_, err := w.Desk.PublishFlow(w.Admin, v.ID, nil)
	ok(t, err)
}

// TestAPublishedVersionNeverChanges: drafts replace each other, what was published stays as it was and can come back.
func TestAPublishedVersionNeverChanges(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		id := newFlow(t, w)
		first := draft(t, w, id, greeting(nil, nil))
		second := draft(t, w, id, greeting(&w.Queue, nil))
		if _, err := w.Store.Ent.FlowVersion.Get(w.Sys, first.ID); !ent.IsNotFound(err) {
			t.Errorf("the draft that was replaced is there: %v", err)
		}
		_, err := w.Desk.PublishFlow(w.Admin, first.ID, nil)
		w.Refused(err, desk.NotFound)
		_, err = w.Desk.RollbackFlow(w.Admin, second.ID, nil)
		w.Refused(err, desk.WrongState)
		publish(t, w, second)
		_, err = w.Desk.PublishFlow(w.Admin, second.ID, nil)
		w.Refused(err, desk.WrongState)
		_, err = w.Desk.RollbackFlow(w.Admin, second.ID, nil)
		w.Refused(err, desk.WrongState)
		third := draft(t, w, id, greeting(nil, nil))
		if f := flowRow(t, w, id); !is(f.PublishedID, second.ID) || !is(f.DraftID, third.ID) || third.Number != 3 {
			t.Errorf("the flow is %+v", f)
		}
		publish(t, w, third)
		fourth := draft(t, w, id, desk.FlowDraftInput{})
		_, err = w.Desk.RollbackFlow(w.Admin, second.ID, nil)
		ok(t, err)
		if f := flowRow(t, w, id); !is(f.PublishedID, second.ID) || !is(f.DraftID, fourth.ID) {
			t.Errorf("after the rollback the flow is %+v", f)
		}
		after, err := w.Store.Ent.FlowVersion.Get(w.Sys, second.ID)
		ok(t, err)
		if string(after.Document) != string(second.Document) || after.PublishedAt == nil || after.Number != 2 {
			t.Errorf("the version became %+v", after)
		}
	})
}

// TestADraftIsAsItWasWritten: every member comes back.
func TestADraftIsAsItWasWritten(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := promptOf(t, w)
		in := greeting(&w.Queue, &p.ID)
		in.Comment = ptr("first try")
		v := draft(t, w, newFlow(t, w), in)
		if v.Comment == nil || *v.Comment != "first try" || !is(v.AuthorID, w.Admin.ID) {
			t.Errorf("the version is %+v", v)
		}
		start, err := desk.FlowStart(v)
		ok(t, err)
		got, err := desk.FlowNodes(v)
		ok(t, err)
		var keys []string
		for _, n := range got {
			keys = append(keys, n.Key)
		}
		if start != "hello" || !slices.Equal(keys, []string{"bye", "hello", "menu", "sales"}) {
			t.Fatalf("it begins at %q with %v", start, keys)
		}
		hello, menu, sales := got[1], got[2], got[3]
		if hello.Kind != desk.FlowPrompt || *hello.Sound != desk.SoundWelcome || hello.PromptID != nil || *hello.Title != "Welcome" {
			t.Errorf("hello is %+v", hello)
		}
		if menu.Kind != desk.FlowMenu || menu.Sound != nil || !is(menu.PromptID, p.ID) || *menu.TimeoutSeconds != 7 || *menu.Tries != 2 || len(menu.Exits) != 4 ||
			*menu.Exits[0] != (desk.FlowExit{On: "1", To: "sales"}) {
			t.Errorf("menu is %+v", menu)
		}
		if sales.Kind != desk.FlowQueue || !is(sales.QueueID, w.Queue) || got[0].Kind != desk.FlowHangUp || got[0].Tries != nil || len(got[0].Exits) != 0 {
			t.Errorf("sales is %+v, bye %+v", sales, got[0])
		}
	})
}

// TestWhatIsWrongWithADraft is told at its node, and keeps it from being published; what belongs to another workspace
// looks absent.
func TestWhatIsWrongWithADraft(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		other := w.Another()
		theirs, gone := promptOf(t, other), gid.Make(gid.Queue)
		for name, c := range map[string]struct {
			in    desk.FlowDraftInput
			field []string
		}{
			"nothing":                      {desk.FlowDraftInput{}, []string{"versionId"}},
			"a queue that is gone":         {greeting(&gone, nil), []string{"versionId", "nodes", "sales"}},
			"another workspace's queue":    {greeting(&other.Queue, nil), []string{"versionId", "nodes", "sales"}},
			"another workspace's prompt":   {greeting(nil, &theirs.ID), []string{"versionId", "nodes", "menu"}},
			"a node that nobody comes to":  {func() desk.FlowDraftInput { in := greeting(nil, nil); in.StartKey = "sales"; return in }(), []string{"versionId", "nodes", "bye"}},
			"a start that is not there":    {func() desk.FlowDraftInput { in := greeting(nil, nil); in.StartKey = ""; return in }(), []string{"versionId"}},
			"a menu that asks a hundred":   {func() desk.FlowDraftInput { in := greeting(nil, nil); in.Nodes[1].Tries = ptr(100); return in }(), []string{"versionId", "nodes", "menu"}},
			"a prompt node without prompt": {func() desk.FlowDraftInput { in := greeting(nil, nil); in.Nodes[0].Sound = nil; return in }(), []string{"versionId", "nodes", "hello"}},
		} {
			id := newFlow(t, w)
			v := draft(t, w, id, c.in)
			there, err := w.Desk.FlowTargets(w.Admin)
			ok(t, err)
			problems, err := desk.FlowProblems(v, there)
			ok(t, err)
			if len(problems) == 0 {
				t.Errorf("%s: no problem is told", name)
			}
			_, err = w.Desk.PublishFlow(w.Admin, v.ID, nil)
			if r := w.Refused(err, desk.Invalid); !slices.Equal(r.Field, c.field) {
				t.Errorf("%s: refused about %v", name, r.Field)
			}
			if f := flowRow(t, w, id); f.PublishedID != nil || !is(f.DraftID, v.ID) {
				t.Errorf("%s: the flow is %+v", name, f)
			}
		}
	})
}

// TestADraftThatCannotBeStoredIsRefused with the place of what is wrong.
func TestADraftThatCannotBeStoredIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		id := newFlow(t, w)
		node := func(change func(*desk.FlowNodeInput)) desk.FlowDraftInput {
			in := greeting(nil, nil)
			change(&in.Nodes[1])
			return in
		}
		for field, c := range map[string]struct {
			in   desk.FlowDraftInput
			code desk.Code
		}{
			"input nodes":              {desk.FlowDraftInput{Nodes: make([]desk.FlowNodeInput, 201)}, desk.LimitReached},
			"input startKey":           {desk.FlowDraftInput{StartKey: strings.Repeat("x", 65)}, desk.TooLong},
			"input comment":            {desk.FlowDraftInput{Comment: ptr(strings.Repeat("x", 1001))}, desk.TooLong},
			"input nodes 1 key":        {node(func(n *desk.FlowNodeInput) { n.Key = "hello" }), desk.Invalid},
			"input nodes 1 title":      {node(func(n *desk.FlowNodeInput) { n.Title = ptr(strings.Repeat("x", 201)) }), desk.TooLong},
			"input nodes 1 sound":      {node(func(n *desk.FlowNodeInput) { n.PromptID, n.Sound = ptr(gid.Make(gid.Prompt)), ptr(desk.SoundError) }), desk.Invalid},
			"input nodes 1 promptId":   {node(func(n *desk.FlowNodeInput) { n.PromptID = &w.Queue }), desk.NotFound},
			"input nodes 1 queueId":    {node(func(n *desk.FlowNodeInput) { n.QueueID = &gid.ID{} }), desk.NotFound},
			"input nodes 1 exits 4 on": {node(func(n *desk.FlowNodeInput) { n.Exits = append(n.Exits, n.Exits[0]) }), desk.Invalid},
			"input nodes 1 exits 0":    {node(func(n *desk.FlowNodeInput) { n.Exits[0].To = strings.Repeat("x", 65) }), desk.TooLong},
			"input nodes 1 exits":      {node(func(n *desk.FlowNodeInput) { n.Exits = make([]desk.FlowExitInput, 33) }), desk.LimitReached},
		} {
			_, err := w.Desk.SaveDraft(w.Admin, id, c.in, nil, nil)
			if r := w.Refused(err, c.code); strings.Join(r.Field, " ") != field {
				t.Errorf("%s: refused about %v", field, r.Field)
			}
		}
		for _, key := range []string{"", "a b", "ключ", strings.Repeat("x", 65)} {
			_, err := w.Desk.SaveDraft(w.Admin, id, node(func(n *desk.FlowNodeInput) { n.Key = key }), nil, nil)
			w.Refused(err, desk.Invalid)
		}
		if f := flowRow(t, w, id); f.DraftID != nil || f.Version != 1 {
			t.Errorf("the flow is %+v", f)
		}
		_, err := w.Desk.SaveDraft(w.Admin, id, greeting(nil, nil), ptr(7), nil)
		w.Refused(err, desk.StaleVersion)
		for name, who := range map[string]*desktest.Agent{"a supervisor": w.Agent("Sue", "supervisor"), "an agent": w.Agent("Ann", "agent")} {
			if _, err := w.Desk.SaveDraft(who, id, greeting(nil, nil), nil, nil); !errors.As(err, new(*desk.Forbidden)) {
				t.Errorf("%s saves a draft: %v", name, err)
			}
		}
		_, err = w.Desk.SaveDraft(w.Another().Admin, id, greeting(nil, nil), nil, nil)
		w.Refused(err, desk.NotFound)
	})
}

// TestWhatAPublishedFlowNamesIsKept: its queue, its prompt, and the flow itself while a channel goes by it.
func TestWhatAPublishedFlowNamesIsKept(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q, p, id := w.QueueOf(desk.QueueCreateInput{}), promptOf(t, w), newFlow(t, w)
		v := draft(t, w, id, greeting(&q, &p.ID))
		ch := telephone(w, func(in *desk.ChannelCreateInput) { in.FlowID = &id })
		publish(t, w, v)
		_, err := w.Desk.DeleteQueue(w.Admin, q, nil, nil)
		if r := w.Refused(err, desk.InUse); r.ConflictID != id {
			t.Errorf("in the way of the queue stands %v", r.ConflictID)
		}
		_, err = w.Desk.DeletePrompt(w.Admin, p.ID, nil, nil)
		if r := w.Refused(err, desk.InUse); r.ConflictID != id {
			t.Errorf("in the way of the prompt stands %v", r.ConflictID)
		}
		_, err = w.Desk.DeleteFlow(w.Admin, id, nil, nil)
		if r := w.Refused(err, desk.InUse); r.ConflictID != ch.ID {
			t.Errorf("in the way of the flow stands %v", r.ConflictID)
		}
		publish(t, w, draft(t, w, id, greeting(nil, nil)))
		_, err = w.Desk.DeleteQueue(w.Admin, q, nil, nil)
		ok(t, err)
		_, err = w.Desk.RollbackFlow(w.Admin, v.ID, nil)
		if r := w.Refused(err, desk.Invalid); !slices.Equal(r.Field, []string{"versionId", "nodes", "sales"}) {
			t.Errorf("the rollback is refused about %v", r.Field)
		}
		in := desk.ChannelUpdateInput{}
		in.FlowID.Set = true
		_, err = w.Desk.UpdateChannel(w.Admin, ch.ID, in, nil, nil)
		ok(t, err)
		i := ringIn(t, w, ch)
		talkingLeg(t, w, i, w.Admin)
		c := w.Store.Ent.Call.Query().OnlyX(w.Sys)
		_, err = w.Store.DB.ExecContext(t.Context(), w.Store.SQL("UPDATE calls SET flow_version_id = $1 WHERE id = $2"), v.ID, c.ID)
		ok(t, err)
		_, err = w.Desk.DeleteFlow(w.Admin, id, nil, nil)
		w.Refused(err, desk.InUse)
		ok(t, c.Update().SetState("ENDED").Exec(w.Sys))
		_, err = w.Desk.DeleteFlow(w.Admin, id, nil, nil)
		ok(t, err)
		if n := w.Store.Ent.FlowVersion.Query().CountX(w.Sys); n != 0 {
			t.Errorf("%d versions are left", n)
		}
	})
}

// TestAChannelGoesByWhatIsPublished: telephony is given files, and the version to keep with the call.
func TestAChannelGoesByWhatIsPublished(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, id := promptOf(t, w), newFlow(t, w)
		ch := telephone(w)
		goes := func() (*voice.Flow, gid.ID) {
			t.Helper()
			row, err := w.Store.Ent.Channel.Get(w.Sys, ch.ID)
			ok(t, err)
			f, v, err := w.Desk.PublishedFlow(w.Sys, row)
			ok(t, err)
			return f, v
		}
		if f, v := goes(); f != nil || !v.IsZero() {
			t.Errorf("without a flow: %v", f)
		}
		in := desk.ChannelUpdateInput{}
		in.FlowID.Set, in.FlowID.V = true, &id
		_, err := w.Desk.UpdateChannel(w.Admin, ch.ID, in, nil, nil)
		ok(t, err)
		v := draft(t, w, id, greeting(&w.Queue, &p.ID))
		if f, _ := goes(); f != nil {
			t.Errorf("a draft alone: %v", f)
		}
		publish(t, w, v)
		draft(t, w, id, greeting(nil, nil))
		f, version := goes()
		if f == nil || version != v.ID || f.ID != asVoice(id) || f.Version != 1 || f.Start != "hello" || len(f.Check()) > 0 {
			t.Fatalf("the flow is %+v of %v", f, version)
		}
		file, err := w.Store.Ent.Attachment.Get(w.Sys, p.AttachmentID)
		ok(t, err)
		if got := f.Nodes["menu"].Sound; got == nil || got.Blob != "att/"+file.ID.String() {
			t.Errorf("the menu plays %+v", got)
		}
		if got := f.Nodes["hello"].Sound; *got != (voice.Sound{Name: voice.SoundWelcome}) || f.Nodes["sales"].Queue != asVoice(w.Queue) {
			t.Errorf("hello plays %+v, sales is %+v", got, f.Nodes["sales"])
		}
	})
}

// TestOnlyCallsHaveAFlow, and a flow of another workspace looks absent.
func TestOnlyCallsHaveAFlow(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		id, theirs := newFlow(t, w), newFlow(t, w.Another())
		in := desk.ChannelUpdateInput{}
		in.FlowID.Set, in.FlowID.V = true, &id
		_, err := w.Desk.UpdateChannel(w.Admin, site(w).ID, in, nil, nil)
		w.Refused(err, desk.NotSupported)
		_, err = w.Desk.CreateChannel(w.Admin, desk.ChannelCreateInput{Kind: "webchat", Name: "x", FlowID: &id}, nil)
		w.Refused(err, desk.NotSupported)
		in.FlowID.V = &theirs
		_, err = w.Desk.UpdateChannel(w.Admin, telephone(w).ID, in, nil, nil)
		if r := w.Refused(err, desk.NotFound); !slices.Equal(r.Field, []string{"input", "flowId"}) {
			t.Errorf("refused about %v", r.Field)
		}
	})
}
