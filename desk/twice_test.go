package desk_test

import (
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/conversation"
)

// A row that others point to is pointed to by many: none of these references is one to one.
func TestReferencesAdmitManyRows(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		parent := w.Team("parent")
		w.Team("first", parent)
		w.Team("second", parent)
		b, ann := w.Bridge(nil), w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		question, err := w.Store.Ent.Message.Query().Only(w.Sys)
		ok(t, err)
		for range 2 {
			_, err := w.Desk.SendMessage(ann, i.ID, desk.MessageInput{Text: ptr("an answer"), InReplyToID: &question.ID}, nil)
			if err != nil {
				t.Errorf("two answers to one message: %v", err)
			}
		}
		for n := range 2 {
			c := w.Store.Ent.Conversation.Create().SetCustomerID(i.CustomerID).SetNumber(100 + n).SetRelatedID(i.ConversationID).SetState(conversation.StatePENDING)
			if err := c.Exec(w.Sys); err != nil {
				t.Errorf("two matters that follow one: %v", err)
			}
		}
	})
}
