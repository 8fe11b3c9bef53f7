package desk

import (
	"time"

	"tributary/ent"
	"tributary/ent/message"
	"tributary/internal/gid"
	"tributary/internal/page"
)

// The visitor's side of the contract: values made for one identity, from which no path leads to a row. The schema
// describes their members.
type (
	// VisitorSession is a visit.
	VisitorSession struct {
		ID          gid.ID
		Level       string
		DisplayName *string
		Settings    *VisitorSettings
		ExpiresAt   time.Time
	}
	// VisitorSettings is what a site allows.
	VisitorSettings struct {
		Greeting               *string
		IdentificationRequired bool
		MaxTextLength          int
		MaxAttachments         int
		MaxAttachmentBytes     int64
		Locales                []string
	}
	// VisitorConversation is the chat as its visitor sees it.
	VisitorConversation struct {
		ID          gid.ID
		State       VisitorState
		AgentName   *string
		UnreadCount int
		StartedAt   time.Time
	}
	// VisitorState is where the chat stands for the visitor.
	VisitorState string
	// VisitorMessage is an utterance as its visitor sees it.
	VisitorMessage struct {
		ID          gid.ID
		Number      int
		Mine        bool
		AuthorName  *string
		Text        string
		Attachments []*VisitorAttachment
		Delivery    message.Delivery
		At          time.Time
		ClientKey   *string
	}
	// VisitorAttachment is a file as a visitor sees it.
	VisitorAttachment struct {
		ID          gid.ID
		Name        string
		ContentType string
		Bytes       int64
		URL         *string
	}
	// VisitorMessageConnection is a page of a chat.
	VisitorMessageConnection struct {
		Edges    []*VisitorMessageEdge
		Nodes    []*VisitorMessage
		PageInfo page.Info
	}
	// VisitorMessageEdge is a message in its page.
	VisitorMessageEdge struct {
		Cursor page.Cursor
		Node   *VisitorMessage
	}
	// VisitorEvent is something that happened in a chat.
	VisitorEvent struct {
		Event        *ent.Event
		Type         VisitorEventType
		Message      *VisitorMessage
		Conversation *VisitorConversation
	}
	// VisitorEventType is what can happen in a chat.
	VisitorEventType string
	// VisitorTokens is what a visit gives.
	VisitorTokens struct {
		Session      *VisitorSession
		Token        string
		VisitorToken string
		ExpiresAt    time.Time
		Cursor       page.EventCursor
	}
)

// The states of a chat.
const (
	VisitorWaiting       VisitorState = "WAITING"
	VisitorWithAgent     VisitorState = "WITH_AGENT"
	VisitorWaitingForYou VisitorState = "WAITING_FOR_YOU"
	VisitorEnded         VisitorState = "ENDED"
)

// The events of a chat.
const (
	VisitorMessageCreated      VisitorEventType = "MESSAGE_CREATED"
	VisitorMessageUpdated      VisitorEventType = "MESSAGE_UPDATED"
	VisitorConversationUpdated VisitorEventType = "CONVERSATION_UPDATED"
)
