package desk

import (
	"context"
	"crypto/hmac"
	"fmt"
	"strconv"
	"strings"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/internal/crypt"
	"tributary/internal/gid"
)

// Marks are names that we put into what we send (an address, a message's id) and find again in what comes back: they lead
// to the thread even where the provider's own references were lost. The code behind the dot is ours alone to make, so
// that nobody writes himself into a conversation by guessing its number.

// The first letter of a mark says what it names.
const (
	markConversation = 'c'
	markMessage      = 'm'
	markDelivery     = 'b'
)

// markCode is the length of a mark's code: 48 bits, guessed one mail at a time.
const markCode = 12

func mark(workspace gid.ID, name string) string {
	return name + "." + crypt.Current().Blind([16]byte(workspace), "mark", name)[:markCode]
}

// unmark checks a mark; name is what it stood for.
func unmark(workspace gid.ID, text string) (name string, ok bool) {
	name, _, found := strings.Cut(strings.ToLower(text), ".")
	if !found || len(name) < 2 {
		return "", false
	}
	return name, hmac.Equal([]byte(mark(workspace, name)), []byte(strings.ToLower(text)))
}

// marksOf are the marks that a message takes along.
func marksOf(m *ent.Message, number int) channels.Marks {
	id := strings.TrimPrefix(m.ID.String(), messagePrefix)
	return channels.Marks{
		Conversation: mark(m.WorkspaceID, string(markConversation)+strconv.Itoa(number)),
		Message:      mark(m.WorkspaceID, string(markMessage)+id),
		Delivery:     mark(m.WorkspaceID, string(markDelivery)+id),
	}
}

const messagePrefix = "msg_"

// markedMessage is the message that a mark of this letter names.
func markedMessage(workspace gid.ID, marks []string, letter byte) (gid.ID, bool) {
	for _, text := range marks {
		name, ok := unmark(workspace, text)
		if !ok || name[0] != letter {
			continue
		}
		if id, err := gid.Parse(messagePrefix + name[1:]); err == nil {
			return id, true
		}
	}
	return gid.ID{}, false
}

// markedContact is the contact of the message that a good mark names; nil when none does.
func (w *work) markedContact(ctx context.Context, ch *ent.Channel, marks []string) (*ent.Interaction, error) {
	m, err := w.messageOfMark(ctx, ch, marks)
	if m == nil || err != nil {
		return nil, err
	}
	i, err := w.tx.Interaction.Query().Where(interaction.ID(m.InteractionID)).WithConversation().Only(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what a mark names: %w", err)
	}
	if i.ThreadKey == "" {
		return nil, nil
	}
	return i, nil
}

// messageOfMark is the message of ours that a good mark names; nil when none does.
func (w *work) messageOfMark(ctx context.Context, ch *ent.Channel, marks []string) (*ent.Message, error) {
	for _, letter := range []byte{markMessage, markDelivery} {
		id, ok := markedMessage(ch.WorkspaceID, marks, letter)
		if !ok {
			continue
		}
		m, err := w.tx.Message.Query().Where(message.ID(id), message.DirectionEQ(message.DirectionOUTBOUND)).Only(ctx)
		if err == nil {
			return m, nil
		}
		if !ent.IsNotFound(err) {
			return nil, fmt.Errorf("read what a mark names: %w", err)
		}
	}
	return nil, nil
}

// marked is the last contact of the conversation that the first good mark names, on this channel where it has one there;
// nil when none names any.
func (w *work) marked(ctx context.Context, ch *ent.Channel, marks []string) (*ent.Interaction, error) {
	for _, text := range marks {
		name, ok := unmark(ch.WorkspaceID, text)
		if !ok || name[0] != markConversation {
			continue
		}
		n, err := strconv.Atoi(name[1:])
		if err != nil {
			continue
		}
		c, err := w.tx.Conversation.Query().Where(conversation.Number(n)).Only(ctx)
		for err == nil && c.MergedIntoID != nil {
			c, err = w.tx.Conversation.Get(ctx, *c.MergedIntoID)
		}
		if ent.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read what a mark names: %w", err)
		}
		i, err := w.lastContact(ctx, c.ID, ch.ID)
		if i != nil || err != nil {
			return i, err
		}
	}
	return nil, nil
}

// lastContact is the newest contact of a conversation, of this channel before all others.
func (w *work) lastContact(ctx context.Context, conv, ch gid.ID) (*ent.Interaction, error) {
	all, err := w.tx.Interaction.Query().Where(interaction.ConversationID(conv), interaction.ThreadKeyNEQ("")).
		Order(ent.Desc(interaction.FieldStartedAt, interaction.FieldID)).WithConversation().Limit(50).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read contacts: %w", err)
	}
	for _, i := range all {
		if i.ChannelID != nil && *i.ChannelID == ch {
			return i, nil
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[0], nil
}
