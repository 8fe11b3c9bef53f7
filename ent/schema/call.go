package schema

import (
	"encoding/json"

	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
	"tributary/internal/personal"
)

func personalField(name, ad string) ent.Field {
	return field.String(name).GoType(personal.Value{}).ValueScanner(personal.Scanner(ad)).SchemaType(bytesType).Sensitive()
}

// Call is the call of an interaction. Its media live on one node in one life of it: node and epoch; facts of another
// epoch are refused.
type Call struct{ ent.Schema }

// Mixin of Call.
func (Call) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Call. arrival is the dialog that brought it, so that a repeated greeting finds it; beat is the lease by which
// a dead node's calls are found; last_fact is the highest number stored. held_since is set while it is held, held_total
// counts the seconds of holds that ended. answered_at is when a person first spoke with the customer. caller_proof is how well the
// caller's number was known when the call came in.
func (Call) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Call), refOnce("interaction_id"), refOptionalOnce("channel_id"),
		field.Enum("direction").Values("INBOUND", "OUTBOUND").Immutable(),
		field.Enum("state").Values("IN_FLOW", "QUEUED", "RINGING", "ACTIVE", "HELD", "ENDED"),
		personalField("from", "call.from"), personalField("to", "call.to"), field.String("name").Default("").Immutable(),
		field.Enum("caller_proof").Values("CONFIRMED", "ASSERTED", "CLAIMED", "WITHHELD", "DIALLED").Immutable(),
		field.String("node").Immutable(), field.Int64("epoch").Immutable(), field.String("arrival").Immutable().Sensitive(),
		field.Time("beat_at").Default(Now), field.Int("last_fact").Default(0),
		refOptionalOnce("flow_version_id"), field.JSON("headers", map[string]string{}).Default(map[string]string{}).Immutable(),
		timeOptional("ringing_at"), timeOptional("answered_at"), timeOptional("ended_at"), timeOptional("held_since"), field.Int("held_total").Default(0),
		field.Enum("end_cause").Values("CUSTOMER_HUNG_UP", "AGENT_HUNG_UP", "ABANDONED", "NO_ANSWER", "BUSY", "REJECTED", "UNREACHABLE", "FAILED", "TRANSFERRED_OUT", "LOST").Optional().Nillable(),
		field.Int("sip_code").Optional().Nillable(), field.Float("loss_rate").Optional().Nillable(), field.Float("jitter_ms").Optional().Nillable(),
		field.Enum("recording_state").Values("OFF", "RECORDING", "PAUSED").Default("OFF"), refOptionalOnce("resumed_from_id"),
	}
}

// Annotations of Call.
func (Call) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Needs: map[string][]string{
		"waitSeconds": {"created_at", "answered_at", "ended_at"}, "talkSeconds": {"answered_at", "ended_at", "held_total"},
		"holdSeconds": {"held_total"}, "quality": {"loss_rate", "jitter_ms"}, "digits": {"id"},
	}}}
}

// Edges of Call.
func (Call) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("interaction", Interaction.Type).Ref("calls").Field("interaction_id").Unique().Required().Immutable(),
		edge.To("channel", Channel.Type).Field("channel_id").Unique().Immutable(),
		edge.To("flow_version", FlowVersion.Type).Field("flow_version_id").Unique().Immutable(),
		edge.To("resumed_by", Call.Type).From("resumed_from").Field("resumed_from_id").Unique().Immutable(),
		edge.To("legs", CallLeg.Type), edge.To("facts", CallFact.Type), edge.To("recordings", Recording.Type),
	}
}

// Indexes of Call. The second is the promise of one open call per interaction.
func (Call) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("workspace_id", "arrival").Unique(),
		index.Fields("workspace_id", "interaction_id").Unique().Annotations(entsql.IndexWhere("state <> 'ENDED'")),
		index.Fields("interaction_id", "created_at"), index.Fields("node", "state"), index.Fields("state", "beat_at"),
		index.Fields("workspace_id", "created_at", "id"),
	}
}

// CallLeg is one end of a call: the customer's, or an agent's.
type CallLeg struct{ ent.Schema }

// Mixin of CallLeg.
func (CallLeg) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of CallLeg. An agent's leg without a phone is a browser.
func (CallLeg) Fields() []ent.Field {
	return []ent.Field{
		key(gid.CallLeg), refOnce("call_id"), field.Enum("role").Values("CUSTOMER", "AGENT").Immutable(),
		refOptionalOnce("agent_id"), refOptional("phone_id"), refOptionalOnce("identity_id"), refOptionalOnce("offer_id"),
		field.Enum("state").Values("RINGING", "ACTIVE", "ENDED"), field.Bool("browser").Default(false).Immutable(),
		field.Bool("muted").Default(false), field.Bool("held").Default(false), field.Time("started_at").Default(Now).Immutable(),
		timeOptional("ring_until"), timeOptional("joined_at"), timeOptional("left_at"),
		field.String("cause").Optional().Nillable(), field.Int("sip_code").Optional().Nillable(),
	}
}

// Edges of CallLeg.
func (CallLeg) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("call", Call.Type).Ref("legs").Field("call_id").Unique().Required().Immutable(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Immutable(),
		edge.To("phone", AgentPhone.Type).Field("phone_id").Unique(),
		edge.To("identity", Identity.Type).Field("identity_id").Unique().Immutable(),
		edge.To("offer", Offer.Type).Field("offer_id").Unique().Immutable(),
	}
}

// Indexes of CallLeg.
func (CallLeg) Indexes() []ent.Index {
	return []ent.Index{index.Fields("call_id", "started_at"), index.Fields("workspace_id", "agent_id", "state"), index.Fields("offer_id")}
}

// CallFact is what telephony reported of a call, once each.
type CallFact struct{ ent.Schema }

// Mixin of CallFact.
func (CallFact) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of CallFact.
func (CallFact) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), refOnce("call_id"), field.Int("number").Immutable(), field.String("kind").Immutable(), refOptionalOnce("leg_id"),
		field.Time("at").Immutable(), field.String("step").Default("").Immutable(), field.String("exit").Default("").Immutable(),
		personalField("input", "call_fact.input"),
	}
}

// Edges of CallFact.
func (CallFact) Edges() []ent.Edge {
	return []ent.Edge{edge.From("call", Call.Type).Ref("facts").Field("call_id").Unique().Required().Immutable()}
}

// Indexes of CallFact.
func (CallFact) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "call_id", "number").Unique(), index.Fields("call_id")}
}

// Recording is the sound of a call in the blob store: stereo, the customer left, the agent right.
type Recording struct{ ent.Schema }

// Mixin of Recording.
func (Recording) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of Recording.
func (Recording) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Recording), refOnce("call_id"), field.String("blob_key").Sensitive(), field.Int64("bytes").Immutable(),
		field.String("sha256").Immutable(), field.Float("seconds").Immutable(), field.Time("started_at").Immutable(), timeOptional("deleted_at"),
	}
}

// Annotations of Recording.
func (Recording) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Needs: map[string][]string{"url": {"blob_key", "deleted_at"}}}}
}

// Edges of Recording.
func (Recording) Edges() []ent.Edge {
	return []ent.Edge{edge.From("call", Call.Type).Ref("recordings").Field("call_id").Unique().Required().Immutable()}
}

// Indexes of Recording.
func (Recording) Indexes() []ent.Index { return []ent.Index{index.Fields("call_id", "started_at")} }

// AgentPhone is a SIP account of an agent. ha1 is sealed JSON of voice.Phone.HA1.
type AgentPhone struct{ ent.Schema }

// Mixin of AgentPhone.
func (AgentPhone) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of AgentPhone.
func (AgentPhone) Fields() []ent.Field {
	return []ent.Field{
		key(gid.AgentPhone), refOnce("agent_id"), field.String("label"), field.String("username").Immutable(), field.Bytes("ha1").Sensitive(),
		field.Bool("preferred").Default(false),
	}
}

// Annotations of AgentPhone. Who sees the user name depends on whose it is.
func (AgentPhone) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Always: []string{"agent_id"}, Needs: map[string][]string{"registered": {"agent_id"}, "userAgent": {"agent_id"}}}}
}

// Edges of AgentPhone.
func (AgentPhone) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("agent", Agent.Type).Ref("phones").Field("agent_id").Unique().Required().Immutable(),
		edge.To("contacts", PhoneContact.Type),
	}
}

// Indexes of AgentPhone. The registrar looks the user name up before it knows a workspace.
func (AgentPhone) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "agent_id", "label").Unique(), index.Fields("workspace_id", "username").Unique(), index.Fields("username")}
}

// PhoneContact is where a phone can be reached: its registration (RFC 3261 section 10), written by the node that holds
// the flow.
type PhoneContact struct{ ent.Schema }

// Mixin of PhoneContact.
func (PhoneContact) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of PhoneContact.
func (PhoneContact) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), refOnce("agent_phone_id"), refOnce("agent_id"), field.String("node"), field.String("contact").Sensitive(), field.String("source").Sensitive(),
		field.String("transport"), field.String("call_id"), field.Int64("seq"), field.String("user_agent").Default(""), field.Time("expires_at"), field.Time("seen_at").Default(Now),
	}
}

// Edges of PhoneContact.
func (PhoneContact) Edges() []ent.Edge {
	return []ent.Edge{edge.From("phone", AgentPhone.Type).Ref("contacts").Field("agent_phone_id").Unique().Required().Immutable()}
}

// Indexes of PhoneContact.
func (PhoneContact) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "agent_phone_id").Unique(), index.Fields("agent_id", "expires_at"), index.Fields("expires_at"), index.Fields("node")}
}

// Flow is what a caller goes through before he waits, as versioned data.
type Flow struct{ ent.Schema }

// Mixin of Flow.
func (Flow) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Flow.
func (Flow) Fields() []ent.Field {
	return []ent.Field{key(gid.Flow), field.String("name"), refOptional("published_id"), refOptional("draft_id"), field.Int("last_number").Default(0)}
}

// Edges of Flow.
func (Flow) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("versions", FlowVersion.Type).Annotations(Paged{Column: "number", Desc: true}),
		edge.To("published", FlowVersion.Type).Field("published_id").Unique(), edge.To("draft", FlowVersion.Type).Field("draft_id").Unique(),
		edge.From("channels", Channel.Type).Ref("flow"),
	}
}

// Indexes of Flow.
func (Flow) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "name").Unique()}
}

// FlowVersion is one version of a flow, as JSON of voice.Flow. It never changes: running calls keep theirs.
type FlowVersion struct{ ent.Schema }

// Mixin of FlowVersion.
func (FlowVersion) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of FlowVersion. document names sounds by the id of a Prompt.
func (FlowVersion) Fields() []ent.Field {
	return []ent.Field{
		key(gid.FlowVersion), refOnce("flow_id"), field.Int("number").Immutable(), field.JSON("document", json.RawMessage{}).Immutable(),
		field.Text("comment").Optional().Nillable().Immutable(), refOptionalOnce("author_id"), field.Time("created_at").Default(Now).Immutable(), timeOptional("published_at"),
	}
}

// Annotations of FlowVersion.
func (FlowVersion) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Needs: map[string][]string{"startKey": {"document"}, "nodes": {"document"}, "problems": {"document"}}}}
}

// Edges of FlowVersion.
func (FlowVersion) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("flow", Flow.Type).Ref("versions").Field("flow_id").Unique().Required().Immutable(),
		edge.To("author", Agent.Type).Field("author_id").Unique().Immutable(),
	}
}

// Indexes of FlowVersion.
func (FlowVersion) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "flow_id", "number").Unique(), index.Fields("flow_id")}
}

// Prompt is something to be heard: a sound file.
type Prompt struct{ ent.Schema }

// Mixin of Prompt.
func (Prompt) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Prompt.
func (Prompt) Fields() []ent.Field {
	return []ent.Field{key(gid.Prompt), field.String("name"), ref("attachment_id"), field.Float("seconds").Default(0)}
}

// Annotations of Prompt.
func (Prompt) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Needs: map[string][]string{"url": {"attachment_id"}}}}
}

// Edges of Prompt.
func (Prompt) Edges() []ent.Edge {
	return []ent.Edge{edge.To("audio", Attachment.Type).Field("attachment_id").Unique().Required()}
}

// Indexes of Prompt.
func (Prompt) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "name").Unique()}
}
