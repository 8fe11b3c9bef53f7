package desk

import (
	"context"

	entgo "entgo.io/ent"
	"entgo.io/ent/dialect/sql"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/assignment"
	"tributary/ent/attachment"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/note"
	"tributary/ent/offer"
	"tributary/ent/participant"
	"tributary/ent/predicate"
	"tributary/ent/routingdecision"
	"tributary/ent/session"
	"tributary/ent/timelineitem"
	"tributary/internal/viewer"
)

// scopeOf is the right that reading a row of a type needs, however it is reached.
var scopeOf = map[string]viewer.Scope{
	ent.TypeWorkspace: viewer.Self, ent.TypeAgent: viewer.Self, ent.TypeAgentStatus: viewer.Self, ent.TypeAgentLoad: viewer.Self,
	ent.TypeCapacityProfile: viewer.Self, ent.TypeRole: viewer.Self, ent.TypeTeam: viewer.Self, ent.TypeTeamMember: viewer.Self,
	ent.TypeSession: viewer.Self, ent.TypeApp: viewer.Self, ent.TypeAPIKey: viewer.APIWrite, ent.TypeQueue: viewer.Self,
	ent.TypeMergeCandidate: viewer.CustomerRead, ent.TypeMergeCandidacy: viewer.CustomerRead,
	ent.TypeCustomerMerge: viewer.CustomerRead, ent.TypeCustomerMergePart: viewer.CustomerRead, ent.TypeMergeSuggestion: viewer.ConversationRead,
	ent.TypeCustomer: viewer.CustomerRead, ent.TypeIdentity: viewer.CustomerRead,
	ent.TypeConversation: viewer.ConversationRead, ent.TypeParticipant: viewer.ConversationRead, ent.TypeInteraction: viewer.ConversationRead,
	ent.TypeMessage: viewer.ConversationRead, ent.TypeNote: viewer.ConversationRead, ent.TypeAttachment: viewer.ConversationRead, ent.TypeTimelineItem: viewer.ConversationRead,
	ent.TypeOffer: viewer.ConversationRead, ent.TypeAssignment: viewer.ConversationRead, ent.TypeAccess: viewer.ConversationRead,
	ent.TypeRoutingDecision: viewer.RoutingRead, ent.TypeChannel: viewer.ConversationRead,
	ent.TypeSkill: viewer.Self, ent.TypeAgentSkill: viewer.Self, ent.TypeSkillNeed: viewer.Self, ent.TypeStatusReason: viewer.Self,
	ent.TypeCall: viewer.ConversationRead, ent.TypeCallLeg: viewer.ConversationRead, ent.TypeCallFact: viewer.ConversationRead, ent.TypeRecording: viewer.RecordingRead,
	ent.TypeJob: viewer.ChannelRead, ent.TypeRawInbound: viewer.ChannelRead,
	ent.TypeAgentPhone: viewer.Self, ent.TypeFlow: viewer.RoutingRead, ent.TypeFlowVersion: viewer.RoutingRead, ent.TypePrompt: viewer.RoutingRead,
}

// sight registers scope and reach on the client (MODEL 6): one predicate for lists, counts, nodes and edges.
func (d *Desk) sight() {
	db := d.db
	db.Intercept(ent.TraverseFunc(func(ctx context.Context, _ ent.Query) error {
		typ := entgo.QueryFromContext(ctx).Type
		s, known := scopeOf[typ]
		switch v := viewer.From(ctx); {
		case typ == ent.TypeLease: // of no workspace: the relay asks for its own without a viewer
			return nil
		case v == nil:
			return viewer.ErrNone
		case inside(ctx):
			return nil
		case known:
			return need(ctx, s)
		case v.Kind != viewer.KindSystem: // rows that no contract shows: the process alone reads them
			return &Forbidden{Scope: viewer.SystemAdmin}
		}
		return nil
	}))
	db.Conversation.Intercept(reach(func(_ *viewer.Viewer, q *ent.ConversationQuery, p predicate.Conversation) { q.Where(p) }))
	db.Interaction.Intercept(reach(func(_ *viewer.Viewer, q *ent.InteractionQuery, p predicate.Conversation) {
		q.Where(interaction.HasConversationWith(p))
	}))
	db.TimelineItem.Intercept(reach(func(_ *viewer.Viewer, q *ent.TimelineItemQuery, p predicate.Conversation) {
		q.Where(timelineitem.HasConversationWith(p))
	}))
	db.Message.Intercept(reach(func(_ *viewer.Viewer, q *ent.MessageQuery, p predicate.Conversation) {
		q.Where(message.HasConversationWith(p))
	}))
	db.Participant.Intercept(reach(func(_ *viewer.Viewer, q *ent.ParticipantQuery, p predicate.Conversation) {
		q.Where(participant.HasConversationWith(p))
	}))
	db.Assignment.Intercept(reach(func(_ *viewer.Viewer, q *ent.AssignmentQuery, p predicate.Conversation) {
		q.Where(assignment.HasInteractionWith(interaction.HasConversationWith(p)))
	}))
	db.RoutingDecision.Intercept(reach(func(_ *viewer.Viewer, q *ent.RoutingDecisionQuery, p predicate.Conversation) {
		q.Where(routingdecision.HasInteractionWith(interaction.HasConversationWith(p)))
	}))
	db.Attachment.Intercept(reach(func(v *viewer.Viewer, q *ent.AttachmentQuery, p predicate.Conversation) {
		q.Where(attachment.Or(attachment.CreatorID(v.Actor), attachment.HasMessageWith(message.HasConversationWith(p))))
	}))
	db.Note.Intercept(reach(func(_ *viewer.Viewer, q *ent.NoteQuery, p predicate.Conversation) {
		q.Where(note.HasConversationWith(p))
	}))
	d.callSight()
	d.withhold()
	db.Session.Intercept(ent.TraverseFunc(func(ctx context.Context, q ent.Query) error {
		if v := viewer.From(ctx); v != nil && !v.Has(viewer.PeopleWrite) {
			q.(*ent.SessionQuery).Where(session.AgentID(v.Actor))
		}
		return nil
	}))
	db.Offer.Intercept(ent.TraverseFunc(func(ctx context.Context, any ent.Query) error {
		v, q := viewer.From(ctx), any.(*ent.OfferQuery)
		switch {
		case v == nil:
			return viewer.ErrNone
		case !v.Has(viewer.Supervise):
			q.Where(offer.AgentID(v.Actor)) // an offer belongs to the offered agent alone
		case !v.SeesAll():
			q.Where(offer.Or(offer.AgentID(v.Actor), offer.HasConversationWith(reached(v))))
		}
		return nil
	}))
}

// reached is the one predicate of reach: the viewer, or with reach TEAMS one of his teams, stands in the access rows.
func reached(v *viewer.Viewer) predicate.Conversation {
	if v.SeesAll() {
		return func(*sql.Selector) {}
	}
	return conversation.HasAccessWith(access.WorkspaceID(v.Workspace), access.SubjectIDIn(v.Subjects()...))
}

func reach[Q ent.Query](cut func(*viewer.Viewer, Q, predicate.Conversation)) ent.Interceptor {
	return ent.TraverseFunc(func(ctx context.Context, q ent.Query) error {
		v := viewer.From(ctx)
		if v == nil {
			return viewer.ErrNone
		}
		if !v.SeesAll() {
			cut(v, q.(Q), reached(v))
		}
		return nil
	})
}

type insideKey struct{}

// within marks the inside of an operation whose right was checked: it may read what it must, within its reach.
func within(ctx context.Context) context.Context { return context.WithValue(ctx, insideKey{}, true) }

func inside(ctx context.Context) bool { return ctx.Value(insideKey{}) != nil }

// need checks the right to an operation.
func need(ctx context.Context, s viewer.Scope) error {
	v := viewer.From(ctx)
	if v == nil {
		return viewer.ErrNone
	}
	if !v.Has(s) {
		return &Forbidden{Scope: s}
	}
	return nil
}

// asSystem is the desk acting for somebody whose right was checked, over all of his workspace; who it is stays known.
func asSystem(ctx context.Context) context.Context {
	v := viewer.From(ctx)
	return within(viewer.Acting(ctx, v.Workspace, v.Actor))
}
