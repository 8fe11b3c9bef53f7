package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/mergesuggestion"
	"tributary/internal/gid"
)

// suggest says in both of two locked conversations of one customer that they may be one matter: whoever serves in
// either is told, nothing is taken away (MODEL 4). They come back as they are then.
func (w *work) suggest(ctx context.Context, a, b *ent.Conversation) (*ent.Conversation, *ent.Conversation, error) {
	there, err := w.tx.MergeSuggestion.Query().Where(mergesuggestion.ConversationID(a.ID), mergesuggestion.MergeSuggestionID(b.ID)).Exist(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read suggestions: %w", err)
	}
	if there || a.ID == b.ID {
		return a, b, nil
	}
	if err := w.writeSuggestion(ctx, a.ID, b.ID); err != nil {
		return nil, nil, err
	}
	for _, c := range []**ent.Conversation{&a, &b} {
		n, err := w.tx.Conversation.UpdateOneID((*c).ID).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("save conversation: %w", err)
		}
		*c = n
		w.emit(fact{typ: ConversationUpdated, subject: n.ID, version: n.Version, conv: n, changed: []string{"mergeSuggestions"}})
	}
	return a, b, nil
}

func (w *work) writeSuggestion(ctx context.Context, a, b gid.ID) error {
	for _, pair := range [][2]gid.ID{{a, b}, {b, a}} {
		err := w.tx.MergeSuggestion.Create().SetConversationID(pair[0]).SetMergeSuggestionID(pair[1]).SetAt(w.at).
			OnConflictColumns(mergesuggestion.FieldConversationID, mergesuggestion.FieldMergeSuggestionID).DoNothing().Exec(ctx)
		if err != nil && !isNoRows(err) {
			return fmt.Errorf("write suggestion: %w", err)
		}
	}
	return nil
}

// unsuggest clears what was suggested with a matter that is over.
func (w *work) unsuggest(ctx context.Context, id gid.ID) error {
	_, err := w.tx.MergeSuggestion.Delete().Where(mergesuggestion.Or(mergesuggestion.ConversationID(id), mergesuggestion.MergeSuggestionID(id))).Exec(ctx)
	if err != nil {
		return fmt.Errorf("clear suggestions: %w", err)
	}
	return nil
}

// mergedSuggestions clears what was suggested for a conversation that went into another; what was suggested with a third
// one is suggested for the other.
func (w *work) mergedSuggestions(ctx context.Context, into, from gid.ID) error {
	rows, err := w.tx.MergeSuggestion.Query().Where(mergesuggestion.ConversationID(from)).All(ctx)
	if err != nil {
		return fmt.Errorf("read suggestions: %w", err)
	}
	if err := w.unsuggest(ctx, from); err != nil {
		return err
	}
	for _, r := range rows {
		if r.MergeSuggestionID == into {
			continue
		}
		if err := w.writeSuggestion(ctx, into, r.MergeSuggestionID); err != nil {
			return err
		}
	}
	return nil
}

// foreignSuggestions clears suggestions between conversations of different customers.
func (w *work) foreignSuggestions(ctx context.Context, conversations []gid.ID) error {
	rows, err := w.tx.MergeSuggestion.Query().Where(mergesuggestion.ConversationIDIn(conversations...)).All(ctx)
	if err != nil || len(rows) == 0 {
		return err
	}
	ids := slices.Clone(conversations)
	for _, r := range rows {
		ids = append(ids, r.MergeSuggestionID)
	}
	cs, err := w.tx.Conversation.Query().Where(conversation.IDIn(unique(ids)...)).Select(conversation.FieldID, conversation.FieldCustomerID).All(ctx)
	if err != nil {
		return fmt.Errorf("read conversations: %w", err)
	}
	whose := map[gid.ID]gid.ID{}
	for _, c := range cs {
		whose[c.ID] = c.CustomerID
	}
	for _, r := range rows {
		a, b := r.ConversationID, r.MergeSuggestionID
		if whose[a] == whose[b] {
			continue
		}
		_, err := w.tx.MergeSuggestion.Delete().Where(mergesuggestion.Or(
			mergesuggestion.And(mergesuggestion.ConversationID(a), mergesuggestion.MergeSuggestionID(b)),
			mergesuggestion.And(mergesuggestion.ConversationID(b), mergesuggestion.MergeSuggestionID(a)))).Exec(ctx)
		if err != nil {
			return fmt.Errorf("clear suggestions: %w", err)
		}
	}
	return nil
}
