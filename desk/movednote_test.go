package desk_test

import (
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/note"
	"tributary/internal/gid"
)

// Notes and followers go where their matter goes, and come back when that is undone.
func TestNotesAndFollowersGoWithAMerge(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		_, one, two := apart(w)
		bob := w.Agent("Bob", "agent")
		for _, in := range []desk.NoteCreateInput{{InteractionID: &two.ID, Text: "about the contact"}, {ConversationID: &two.ConversationID, Text: "about the matter"}} {
			_, err := w.Desk.CreateNote(w.Admin, in, nil)
			ok(t, err)
		}
		_, err := w.Desk.Follow(w.Admin, two.ConversationID, true, []gid.ID{bob.ID}, nil)
		ok(t, err)
		in := func(c gid.ID) int {
			t.Helper()
			n, err := w.Store.Ent.Note.Query().Where(note.ConversationID(c)).Count(w.Sys)
			ok(t, err)
			return n
		}
		_, err = w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{two.ConversationID}, nil)
		ok(t, err)
		if in(one.ConversationID) != 2 || in(two.ConversationID) != 0 || !sees(t, w, bob, one.ConversationID) {
			t.Fatalf("%d notes went, sight %v", in(one.ConversationID), sees(t, w, bob, one.ConversationID))
		}
		followers, err := w.Conversation(one.ConversationID).QueryFollowers().Count(w.Sys)
		ok(t, err)
		if followers != 1 {
			t.Fatalf("%d followers", followers)
		}
		_, err = w.Desk.CreateNote(w.Admin, desk.NoteCreateInput{ConversationID: &two.ConversationID, Text: "too late"}, nil)
		if r := w.Refused(err, desk.WrongState); r.ConflictID != one.ConversationID {
			t.Fatal("the refusal says where the matter went")
		}
		_, err = w.Desk.Reopen(w.Admin, two.ConversationID, nil)
		w.Refused(err, desk.WrongState)
		_, err = w.Desk.UndoConversationMerge(w.Admin, two.ConversationID, nil)
		ok(t, err)
		if in(two.ConversationID) != 2 || in(one.ConversationID) != 0 || sees(t, w, bob, one.ConversationID) {
			t.Fatalf("%d notes came back", in(two.ConversationID))
		}
	})
}
