package desk

import (
	"encoding/json"
	"time"

	"tributary/ent/agentstatus"
	"tributary/ent/apikey"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/queue"
	"tributary/internal/gid"
	"tributary/internal/opt"
	"tributary/internal/viewer"
)

// The inputs of operations. They are the contract's inputs of the same names; the schema describes their members.
type (
	// WorkspaceInput makes a workspace.
	WorkspaceInput struct {
		Name, AdminName, AdminEmail string
		Locale, TimeZone            *string
	}
	// SessionInput is a login.
	SessionInput struct{ Email, Password, Client string }
	// AppCreateInput makes an app.
	AppCreateInput struct {
		DisplayName string
		Scopes      []viewer.Scope
	}
	// APIKeyInput makes a key.
	APIKeyInput struct {
		AppID     gid.ID
		Kind      apikey.Kind
		Scopes    []viewer.Scope
		ExpiresAt *time.Time
	}
	// AgentCreateInput makes an agent.
	AgentCreateInput struct {
		DisplayName, Email string
		RoleID             gid.ID
		Locale             *string
		TeamIds            []gid.ID
		Skills             []SkillLevelInput
		CapacityProfileID  *gid.ID
	}
	// AgentUpdateInput changes an agent.
	AgentUpdateInput struct {
		DisplayName       *string
		RoleID            *gid.ID
		Locale            opt.String
		Active            *bool
		TeamIds           *[]gid.ID
		Skills            *[]SkillLevelInput
		CapacityProfileID *gid.ID
	}
	// AgentStatusInput is a status.
	AgentStatusInput struct {
		State    agentstatus.State
		ReasonID *gid.ID
	}
	// TeamCreateInput makes a team.
	TeamCreateInput struct {
		Name      string
		ParentID  *gid.ID
		MemberIds []gid.ID
	}
	// CapacityRuleInput is what one kind costs.
	CapacityRuleInput struct {
		ChannelKind          string
		UnitsEach, MaxAtOnce int
		BlocksOthers         *bool
	}
	// CapacityProfileCreateInput makes a profile.
	CapacityProfileCreateInput struct {
		Name  string
		Units int
		Rules []CapacityRuleInput
	}
	// AgentFilter narrows agents.
	AgentFilter struct {
		TeamIds, SkillIds []gid.ID
		States            []agentstatus.State
		Active            *bool
	}
	// CustomerUpdateInput changes a customer.
	CustomerUpdateInput struct {
		DisplayName *string
		Locale      opt.String
	}
	// ResolveInput says how a conversation is resolved.
	ResolveInput struct {
		Outcome   *string
		EndOthers *bool
	}
	// ConversationFilter narrows conversations.
	ConversationFilter struct {
		States     []conversation.State
		OwnerIds   []gid.ID
		Unowned    *bool
		CustomerID *gid.ID
	}
	// ConversationOrder orders conversations.
	ConversationOrder struct {
		Field     ConversationOrderField
		Direction string
	}
	// ConversationOrderField is what conversations can be ordered by.
	ConversationOrderField string
	// InteractionFilter narrows interactions.
	InteractionFilter struct {
		States       []interaction.State
		AgentIds     []gid.ID
		QueueIds     []gid.ID
		ChannelKinds []string
	}
	// ConversationUpdateInput changes a conversation.
	ConversationUpdateInput struct {
		Subject  opt.String
		Priority *conversation.Priority
		TeamID   opt.ID
	}
	// TransferInput says where an interaction goes and how.
	TransferInput struct {
		AgentID, QueueID, TeamID *gid.ID
		Mode                     *TransferMode
		Reason                   *string
		Priority                 *interaction.Priority
		WithOwner                *bool
	}
	// TransferMode is how an interaction is handed over.
	TransferMode string
	// NoteCreateInput makes a note.
	NoteCreateInput struct {
		ConversationID, InteractionID *gid.ID
		Text                          string
		MentionIds                    []gid.ID
		Pinned                        *bool
	}
	// NoteUpdateInput changes a note.
	NoteUpdateInput struct {
		Text       *string
		MentionIds *[]gid.ID
		Pinned     *bool
	}
	// UploadInput announces a file.
	UploadInput struct {
		Name, ContentType string
		Bytes             int64
		Sha256            *string
	}
	// MessageInput is a message to send.
	MessageInput struct {
		Text          *string
		AttachmentIds []gid.ID
		InReplyToID   *gid.ID
		SeenUpTo      *gid.ID
		SendAnyway    *bool
		Subject       *string
		ReplyAll      *bool
		To, Cc        []RecipientInput
	}
	// RecipientInput names one to whom a message goes: exactly one of both.
	RecipientInput struct {
		IdentityID *gid.ID
		Address    *string
	}
	// QueueCreateInput makes a queue.
	QueueCreateInput struct {
		Name                                                                                                     string
		Description                                                                                              *string
		TeamID                                                                                                   *gid.ID
		OfferSeconds, WrapUpSeconds, StickySeconds, PauseAfterReplySeconds, SilentAfterSeconds, BreakAfterMisses *int
		Restricted                                                                                               *bool
		Needs                                                                                                    []SkillNeedInput
		RingSeconds                                                                                              *int
		Recording                                                                                                *queue.Recording
		WaitingPromptID                                                                                          *gid.ID
	}
	// QueueUpdateInput changes a queue.
	QueueUpdateInput struct {
		Name                                                         *string
		Description                                                  opt.String
		TeamID                                                       opt.ID
		OfferSeconds, WrapUpSeconds, StickySeconds, BreakAfterMisses *int
		PauseAfterReplySeconds, SilentAfterSeconds                   opt.Int
		Restricted                                                   *bool
		Needs                                                        *[]SkillNeedInput
		RingSeconds                                                  *int
		Recording                                                    *queue.Recording
		WaitingPromptID                                              opt.ID
	}
	// SecretInput is a channel's secret.
	SecretInput struct {
		Name, Value         string
		KeepPreviousSeconds *int
	}
	// ChannelCreateInput makes a channel.
	ChannelCreateInput struct {
		Kind, Name                        string
		Config                            json.RawMessage
		Secrets                           []SecretInput
		QueueID, FlowID                   *gid.ID
		Locale                            *string
		JoinOpen                          *bool
		JoinWithinHours, ReopenWithinDays *int
	}
	// ChannelUpdateInput changes a channel.
	ChannelUpdateInput struct {
		Name                              *string
		Config                            json.RawMessage
		QueueID, FlowID                   opt.ID
		JoinOpen                          *bool
		JoinWithinHours, ReopenWithinDays *int
	}
	// VisitorSessionInput begins a visit.
	VisitorSessionInput struct {
		SiteKey                                     string
		VisitorToken, IdentityToken, Locale, Client *string
	}
	// VisitorMessageInput is what a visitor says.
	VisitorMessageInput struct {
		Text          *string
		AttachmentIds []gid.ID
	}
	// EventFilter narrows a stream.
	EventFilter struct {
		Scope *EventScope
		Types []EventType
	}
)

// DeliveryStates are the states of a filter.
type DeliveryStates = []message.Delivery

// The ways of a transfer.
const (
	Cold TransferMode = "COLD"
	Warm TransferMode = "WARM"
)

// EventScope is how wide a stream is.
type EventScope string

// The scopes of a stream.
const (
	ScopeMine  EventScope = "MINE"
	ScopeTeams EventScope = "TEAMS"
	ScopeAll   EventScope = "ALL"
)

// EventType is what happened.
type EventType string

// The types of events.
const (
	OfferCreated         EventType = "OFFER_CREATED"
	OfferClosed          EventType = "OFFER_CLOSED"
	InteractionStarted   EventType = "INTERACTION_STARTED"
	InteractionUpdated   EventType = "INTERACTION_UPDATED"
	InteractionEnded     EventType = "INTERACTION_ENDED"
	ConversationCreated  EventType = "CONVERSATION_CREATED"
	ConversationUpdated  EventType = "CONVERSATION_UPDATED"
	ConversationRemoved  EventType = "CONVERSATION_REMOVED"
	MessageCreated       EventType = "MESSAGE_CREATED"
	MessageUpdated       EventType = "MESSAGE_UPDATED"
	NoteCreated          EventType = "NOTE_CREATED"
	NoteUpdated          EventType = "NOTE_UPDATED"
	NoteDeleted          EventType = "NOTE_DELETED"
	Mentioned            EventType = "MENTIONED"
	CustomerCreated      EventType = "CUSTOMER_CREATED"
	CustomerUpdated      EventType = "CUSTOMER_UPDATED"
	CustomerMerged       EventType = "CUSTOMER_MERGED"
	CustomerSplit        EventType = "CUSTOMER_SPLIT"
	MergeCandidateFound  EventType = "MERGE_CANDIDATE_FOUND"
	AgentUpdated         EventType = "AGENT_UPDATED"
	AgentStatusChanged   EventType = "AGENT_STATUS_CHANGED"
	ChannelHealthChanged EventType = "CHANNEL_HEALTH_CHANGED"
	DeadLetterCreated    EventType = "DEAD_LETTER_CREATED"
	SettingChanged       EventType = "SETTING_CHANGED"
	CallCreated          EventType = "CALL_CREATED"
	CallUpdated          EventType = "CALL_UPDATED"
	CallEnded            EventType = "CALL_ENDED"
	CallDigit            EventType = "CALL_DIGIT"
)
