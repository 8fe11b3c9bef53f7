package desk

import (
	"context"
	"fmt"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/agentstatus"
	"tributary/ent/apikey"
	"tributary/ent/app"
	"tributary/ent/assignment"
	"tributary/ent/attachment"
	"tributary/ent/capacityprofile"
	"tributary/ent/channel"
	"tributary/ent/conversation"
	"tributary/ent/customer"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/ent/job"
	"tributary/ent/message"
	"tributary/ent/note"
	"tributary/ent/offer"
	"tributary/ent/participant"
	"tributary/ent/queue"
	"tributary/ent/role"
	"tributary/ent/routingdecision"
	"tributary/ent/session"
	"tributary/ent/skill"
	"tributary/ent/team"
	"tributary/ent/timelineitem"
	"tributary/ent/workspace"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// The queries: scoped, not yet run. Whoever shows them narrows them by what it shows.

// Age is the order of lists of settings: ids are made in the order of time.
var Age = page.Order{Column: "id"}

// Conversations within the viewer's reach.
func (d *Desk) Conversations(ctx context.Context, f *ConversationFilter, o *ConversationOrder) (*ent.ConversationQuery, page.Order, error) {
	q, order := d.db.Conversation.Query().Where(conversation.MergedIntoIDIsNil()), page.Order{Column: conversation.FieldUpdatedAt, Desc: true}
	if o != nil {
		order.Desc = o.Direction == "DESC"
		if o.Field == "OPENED_AT" {
			order.Column = conversation.FieldOpenedAt
		}
	}
	if f != nil {
		if len(f.States) > 0 {
			q.Where(conversation.StateIn(f.States...))
		}
		if len(f.OwnerIds) > 0 {
			q.Where(conversation.OwnerIDIn(f.OwnerIds...))
		}
		if f.Unowned != nil && *f.Unowned {
			q.Where(conversation.OwnerIDIsNil())
		}
		if f.CustomerID != nil {
			q.Where(conversation.CustomerID(*f.CustomerID))
		}
	}
	return q, order, need(ctx, viewer.ConversationRead)
}

// Interactions within the viewer's reach, oldest first.
func (d *Desk) Interactions(ctx context.Context, f *InteractionFilter) (*ent.InteractionQuery, page.Order, error) {
	q := d.db.Interaction.Query()
	if f != nil {
		if len(f.States) > 0 {
			q.Where(interaction.StateIn(f.States...))
		}
		if len(f.AgentIds) > 0 {
			q.Where(interaction.AgentIDIn(f.AgentIds...))
		}
		if len(f.QueueIds) > 0 {
			q.Where(interaction.QueueIDIn(f.QueueIds...))
		}
		if len(f.ChannelKinds) > 0 {
			q.Where(interaction.ChannelKindIn(f.ChannelKinds...))
		}
	}
	return q, Age, need(ctx, viewer.ConversationRead)
}

// Pool is everything that waits or is offered, oldest first.
func (d *Desk) Pool(ctx context.Context, queues []gid.ID) (*ent.InteractionQuery, page.Order, error) {
	q := d.db.Interaction.Query().Where(interaction.StateIn(interaction.StateQUEUED, interaction.StateOFFERED))
	if len(queues) > 0 {
		q.Where(interaction.QueueIDIn(queues...))
	}
	return q, Age, need(ctx, viewer.RoutingRead)
}

// UnsettledMessages are those a supervisor worries about, oldest first.
func (d *Desk) UnsettledMessages(ctx context.Context, states []message.Delivery) (*ent.MessageQuery, page.Order, error) {
	q := d.db.Message.Query().Where(message.DirectionEQ(message.DirectionOUTBOUND))
	if len(states) > 0 {
		q.Where(message.DeliveryIn(states...))
	}
	return q, Age, need(ctx, viewer.ConversationRead)
}

// Agents of the workspace, by age.
func (d *Desk) Agents(ctx context.Context, f *AgentFilter) (*ent.AgentQuery, page.Order, error) {
	q := d.db.Agent.Query()
	if f != nil {
		if len(f.TeamIds) > 0 {
			q.Where(agent.HasTeamsWith(team.IDIn(f.TeamIds...)))
		}
		if len(f.SkillIds) > 0 {
			q.Where(agent.HasKnownWith(skill.IDIn(f.SkillIds...)))
		}
		if len(f.States) > 0 {
			q.Where(agent.HasStatusWith(agentstatus.StateIn(f.States...)))
		}
		if f.Active != nil {
			q.Where(agent.Active(*f.Active))
		}
	}
	return q, Age, need(ctx, viewer.PeopleRead)
}

// Sessions of an agent; the viewer's own if none is named.
func (d *Desk) Sessions(ctx context.Context, agentID *gid.ID) (*ent.SessionQuery, page.Order, error) {
	v := viewer.From(ctx)
	if v == nil {
		return nil, Age, viewer.ErrNone
	}
	who := v.Actor
	if agentID != nil {
		who = *agentID
	}
	return d.db.Session.Query().Where(session.AgentID(who)), Age, need(ctx, viewer.Self)
}

// Customers of the workspace, by age.
func (d *Desk) Customers(ctx context.Context) (*ent.CustomerQuery, page.Order, error) {
	return d.db.Customer.Query(), Age, need(ctx, viewer.CustomerRead)
}

// Queues of the workspace, by age.
func (d *Desk) Queues(ctx context.Context) (*ent.QueueQuery, page.Order, error) {
	return d.db.Queue.Query(), Age, need(ctx, viewer.RoutingRead)
}

// Teams of the workspace, by age.
func (d *Desk) Teams(ctx context.Context) (*ent.TeamQuery, page.Order, error) {
	return d.db.Team.Query(), Age, need(ctx, viewer.PeopleRead)
}

// Roles of the workspace, by age.
func (d *Desk) Roles(ctx context.Context) (*ent.RoleQuery, page.Order, error) {
	return d.db.Role.Query(), Age, need(ctx, viewer.PeopleRead)
}

// CapacityProfiles of the workspace, by age.
func (d *Desk) CapacityProfiles(ctx context.Context) (*ent.CapacityProfileQuery, page.Order, error) {
	return d.db.CapacityProfile.Query(), Age, need(ctx, viewer.PeopleRead)
}

// Apps of the workspace, by age.
func (d *Desk) Apps(ctx context.Context) (*ent.AppQuery, page.Order, error) {
	return d.db.App.Query(), Age, need(ctx, viewer.APIWrite)
}

// Channels of the workspace, by age.
func (d *Desk) Channels(ctx context.Context) (*ent.ChannelQuery, page.Order, error) {
	return d.db.Channel.Query(), Age, need(ctx, viewer.ChannelRead)
}

// ChannelKinds are all kinds that this build knows.
func (d *Desk) ChannelKinds(ctx context.Context) ([]channels.Kind, error) {
	return channels.Kinds(), need(ctx, viewer.ChannelRead)
}

// OpenOffers are the viewer's pending offers, oldest first.
func (d *Desk) OpenOffers(ctx context.Context) (*ent.OfferQuery, error) {
	if err := need(ctx, viewer.ConversationRead); err != nil {
		return nil, err
	}
	return d.db.Offer.Query().Where(offer.AgentID(viewer.From(ctx).Actor), offer.StateEQ(offer.StatePENDING)).Order(ent.Asc(offer.FieldID)).Limit(100), nil
}

// DeadLetters are jobs that were given up, oldest first.
func (d *Desk) DeadLetters(ctx context.Context, states []job.State) (*ent.JobQuery, page.Order, error) {
	return d.db.Job.Query().Where(job.StateIn(states...)), Age, need(ctx, viewer.ChannelRead)
}

// DeadLetter is one of them.
func (d *Desk) DeadLetter(ctx context.Context, id gid.ID) (*ent.JobQuery, error) {
	return d.db.Job.Query().Where(job.ID(id)), need(ctx, viewer.ChannelRead)
}

// Workspace is the viewer's.
func (d *Desk) Workspace(ctx context.Context, id gid.ID) (*ent.WorkspaceQuery, error) {
	return d.db.Workspace.Query().Where(workspace.ID(id)), need(ctx, viewer.Self)
}

// NewlyMade reads a workspace for the operator, who belongs to none.
func (d *Desk) NewlyMade(ctx context.Context, ws, admin gid.ID) (*ent.Workspace, *ent.Agent, error) {
	sys := within(viewer.System(ctx, ws))
	w, err := d.db.Workspace.Get(sys, ws)
	if err != nil {
		return nil, nil, fmt.Errorf("read workspace: %w", err)
	}
	a, err := d.db.Agent.Get(sys, admin)
	if err != nil {
		return nil, nil, fmt.Errorf("read agent: %w", err)
	}
	return w, a, nil
}

// Agent by id.
func (d *Desk) Agent(ctx context.Context, id gid.ID) (*ent.AgentQuery, error) {
	return d.db.Agent.Query().Where(agent.ID(id)), need(ctx, viewer.Self)
}

// AgentStatus by id.
func (d *Desk) AgentStatus(ctx context.Context, id gid.ID) (*ent.AgentStatusQuery, error) {
	return d.db.AgentStatus.Query().Where(agentstatus.ID(id)), need(ctx, viewer.Self)
}

// Role by id.
func (d *Desk) Role(ctx context.Context, id gid.ID) (*ent.RoleQuery, error) {
	return d.db.Role.Query().Where(role.ID(id)), need(ctx, viewer.Self)
}

// Session by id: own ones, others' with PEOPLE_WRITE.
func (d *Desk) Session(ctx context.Context, id gid.ID) (*ent.SessionQuery, error) {
	return d.db.Session.Query().Where(session.ID(id)), need(ctx, viewer.Self)
}

// OwnSession reads a session that was made or refreshed a moment ago by whoever proved himself for it.
func (d *Desk) OwnSession(ctx context.Context, id gid.ID) (*ent.Session, error) {
	return d.db.Session.Query().Where(session.ID(id)).WithAgent().Only(within(viewer.Global(ctx)))
}

// App by id.
func (d *Desk) App(ctx context.Context, id gid.ID) (*ent.AppQuery, error) {
	return d.db.App.Query().Where(app.ID(id)), need(ctx, viewer.Self)
}

// APIKey by id.
func (d *Desk) APIKey(ctx context.Context, id gid.ID) (*ent.APIKeyQuery, error) {
	return d.db.APIKey.Query().Where(apikey.ID(id)), need(ctx, viewer.APIWrite)
}

// Team by id.
func (d *Desk) Team(ctx context.Context, id gid.ID) (*ent.TeamQuery, error) {
	return d.db.Team.Query().Where(team.ID(id)), need(ctx, viewer.Self)
}

// CapacityProfile by id.
func (d *Desk) CapacityProfile(ctx context.Context, id gid.ID) (*ent.CapacityProfileQuery, error) {
	return d.db.CapacityProfile.Query().Where(capacityprofile.ID(id)), need(ctx, viewer.Self)
}

// Queue by id.
func (d *Desk) Queue(ctx context.Context, id gid.ID) (*ent.QueueQuery, error) {
	return d.db.Queue.Query().Where(queue.ID(id)), need(ctx, viewer.Self)
}

// Channel by id.
func (d *Desk) Channel(ctx context.Context, id gid.ID) (*ent.ChannelQuery, error) {
	return d.db.Channel.Query().Where(channel.ID(id)), need(ctx, viewer.ConversationRead)
}

// Customer by id.
func (d *Desk) Customer(ctx context.Context, id gid.ID) (*ent.CustomerQuery, error) {
	return d.db.Customer.Query().Where(customer.ID(id)), need(ctx, viewer.CustomerRead)
}

// Identity by id.
func (d *Desk) Identity(ctx context.Context, id gid.ID) (*ent.IdentityQuery, error) {
	return d.db.Identity.Query().Where(identity.ID(id)), need(ctx, viewer.CustomerRead)
}

// Conversation by id.
func (d *Desk) Conversation(ctx context.Context, id gid.ID) (*ent.ConversationQuery, error) {
	return d.db.Conversation.Query().Where(conversation.ID(id)), need(ctx, viewer.ConversationRead)
}

// Participant by id.
func (d *Desk) Participant(ctx context.Context, id gid.ID) (*ent.ParticipantQuery, error) {
	return d.db.Participant.Query().Where(participant.ID(id)), need(ctx, viewer.ConversationRead)
}

// Interaction by id.
func (d *Desk) Interaction(ctx context.Context, id gid.ID) (*ent.InteractionQuery, error) {
	return d.db.Interaction.Query().Where(interaction.ID(id)), need(ctx, viewer.ConversationRead)
}

// Message by id.
func (d *Desk) Message(ctx context.Context, id gid.ID) (*ent.MessageQuery, error) {
	return d.db.Message.Query().Where(message.ID(id)), need(ctx, viewer.ConversationRead)
}

// Note by id.
func (d *Desk) Note(ctx context.Context, id gid.ID) (*ent.NoteQuery, error) {
	return d.db.Note.Query().Where(note.ID(id)), need(ctx, viewer.ConversationRead)
}

// Messages by ids, oldest first.
func (d *Desk) Messages(ctx context.Context, ids []gid.ID) (*ent.MessageQuery, error) {
	return d.db.Message.Query().Where(message.IDIn(ids...)).Order(ent.Asc(message.FieldID)), need(ctx, viewer.ConversationRead)
}

// AgentsByID are agents by ids.
func (d *Desk) AgentsByID(ctx context.Context, ids []gid.ID) (*ent.AgentQuery, error) {
	return d.db.Agent.Query().Where(agent.IDIn(ids...)).Order(ent.Asc(agent.FieldID)), need(ctx, viewer.Self)
}

// Attachment by id.
func (d *Desk) Attachment(ctx context.Context, id gid.ID) (*ent.AttachmentQuery, error) {
	return d.db.Attachment.Query().Where(attachment.ID(id)), need(ctx, viewer.ConversationRead)
}

// TimelineItem by id.
func (d *Desk) TimelineItem(ctx context.Context, id gid.ID) (*ent.TimelineItemQuery, error) {
	return d.db.TimelineItem.Query().Where(timelineitem.ID(id)), need(ctx, viewer.ConversationRead)
}

// Offer by id: own ones; others' with SUPERVISE.
func (d *Desk) Offer(ctx context.Context, id gid.ID) (*ent.OfferQuery, error) {
	return d.db.Offer.Query().Where(offer.ID(id)), need(ctx, viewer.ConversationRead)
}

// Assignment by id.
func (d *Desk) Assignment(ctx context.Context, id gid.ID) (*ent.AssignmentQuery, error) {
	return d.db.Assignment.Query().Where(assignment.ID(id)), need(ctx, viewer.ConversationRead)
}

// RoutingDecision by id.
func (d *Desk) RoutingDecision(ctx context.Context, id gid.ID) (*ent.RoutingDecisionQuery, error) {
	return d.db.RoutingDecision.Query().Where(routingdecision.ID(id)), need(ctx, viewer.RoutingRead)
}
