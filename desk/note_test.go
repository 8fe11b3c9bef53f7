package desk_test

import (
	"strings"
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/page"
)

func TestANoteStaysInsideAndItsMentionsAreTold(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		site := w.Channel(desk.ChannelCreateInput{Kind: "webchat"})
		v := w.Visitor(site)
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		i := w.Serve(v.Say("hello"), ann)
		key := "note-1"
		id, err := w.Desk.CreateNote(ann, desk.NoteCreateInput{InteractionID: &i.ID, Text: "  secret: calls himself Max  ", MentionIds: []gid.ID{bob.ID}}, &key)
		ok(t, err)
		again, err := w.Desk.CreateNote(ann, desk.NoteCreateInput{InteractionID: &i.ID, Text: "  secret: calls himself Max  ", MentionIds: []gid.ID{bob.ID}}, &key)
		ok(t, err)
		if id != again {
			t.Fatal("a repeat with the same key wrote a second note")
		}
		if !sees(t, w, bob, i.ConversationID) {
			t.Fatal("who is mentioned follows the conversation")
		}
		told := 0
		for _, e := range w.Log() {
			if e.Type == string(desk.Mentioned) {
				told++
				if !e.Private || len(e.Audience) != 1 || e.Audience[0] != bob.ID {
					t.Fatalf("told to %v", e.Audience)
				}
			}
		}
		if told != 1 {
			t.Fatalf("%d mentions told", told)
		}
		page, err := w.Desk.VisitorMessages(v, page.Args{})
		ok(t, err)
		for _, m := range page.Nodes {
			if strings.Contains(m.Text, "secret") {
				t.Fatal("the visitor reads a note")
			}
		}
	})
}

func TestANoteIsChangedByItsAuthorAndSupervisorsAlone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		team := w.Team("team")
		q := w.QueueOf(desk.QueueCreateInput{Name: "q", TeamID: &team})
		ann, bob := w.Agent("Ann", "agent", team), w.Agent("Bob", "agent", team)
		i := w.Serve(w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q }).Say("t1", "u1", "hello"), ann)
		id, err := w.Desk.CreateNote(ann, desk.NoteCreateInput{ConversationID: &i.ConversationID, Text: "first"}, nil)
		ok(t, err)
		_, err = w.Desk.UpdateNote(bob, id, desk.NoteUpdateInput{Text: ptr("his")}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.DeleteNote(bob, id, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.UpdateNote(bob, id, desk.NoteUpdateInput{Pinned: ptr(true)}, nil, nil)
		ok(t, err)
		_, err = w.Desk.UpdateNote(ann, id, desk.NoteUpdateInput{Text: ptr("second")}, ptr(1), nil)
		w.Refused(err, desk.StaleVersion)
		_, err = w.Desk.UpdateNote(w.Admin, id, desk.NoteUpdateInput{Text: ptr("second")}, ptr(2), nil)
		ok(t, err)
		_, err = w.Desk.CreateNote(ann, desk.NoteCreateInput{ConversationID: &i.ConversationID, Text: " \n "}, nil)
		w.Refused(err, desk.Required)
		_, err = w.Desk.CreateNote(ann, desk.NoteCreateInput{ConversationID: &i.ConversationID, Text: strings.Repeat("x", 20001)}, nil)
		w.Refused(err, desk.TooLong)
		_, err = w.Desk.DeleteNote(ann, id, nil)
		ok(t, err)
		left, err := w.Store.Ent.TimelineItem.Query().Where(timelineitem.TypeEQ(timelineitem.TypeNOTE)).Count(w.Sys)
		ok(t, err)
		if left != 0 {
			t.Fatal("its place stands in the timeline yet")
		}
	})
}
