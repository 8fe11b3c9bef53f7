package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// Skill is what an agent can do, with a level from 1 to 5.
type Skill struct{ ent.Schema }

// Mixin of Skill.
func (Skill) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Skill.
func (Skill) Fields() []ent.Field {
	return []ent.Field{key(gid.Skill), field.String("name"), field.String("description").Optional().Nillable()}
}

// Edges of Skill.
func (Skill) Edges() []ent.Edge {
	return []ent.Edge{edge.From("agents", Agent.Type).Ref("known").Through("agent_skills", AgentSkill.Type).Annotations(Paged{Column: "id", Desc: false})}
}

// Indexes of Skill.
func (Skill) Indexes() []ent.Index { return []ent.Index{index.Fields("workspace_id", "name").Unique()} }

// AgentSkill is how well an agent knows a skill.
type AgentSkill struct{ ent.Schema }

// Mixin of AgentSkill.
func (AgentSkill) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of AgentSkill.
func (AgentSkill) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("agent_id"), refOnce("skill_id"), field.Int("level").Default(1)}
}

// Edges of AgentSkill.
func (AgentSkill) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Required().Immutable(),
		edge.To("skill", Skill.Type).Field("skill_id").Unique().Required().Immutable(),
	}
}

// Indexes of AgentSkill: the first holds one level for each, the second finds who knows a skill.
func (AgentSkill) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "agent_id", "skill_id").Unique(), index.Fields("skill_id", "agent_id")}
}

// SkillNeed is what a queue asks of whoever serves it.
type SkillNeed struct{ ent.Schema }

// Mixin of SkillNeed.
func (SkillNeed) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of SkillNeed.
func (SkillNeed) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("queue_id"), refOnce("skill_id"), field.Int("minimum_level").Default(1)}
}

// Edges of SkillNeed. The needs of a queue end with it.
func (SkillNeed) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("queue", Queue.Type).Ref("needs").Field("queue_id").Unique().Required().Immutable().Annotations(entsql.OnDelete(entsql.Cascade)),
		edge.To("skill", Skill.Type).Field("skill_id").Unique().Required().Immutable(),
	}
}

// Indexes of SkillNeed.
func (SkillNeed) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "queue_id", "skill_id").Unique(), index.Fields("skill_id")}
}

// StatusReason is the workspace's own name for a state of its agents: lunch, training. Built-in ones have a key, by
// which the desk itself finds them.
type StatusReason struct{ ent.Schema }

// Mixin of StatusReason.
func (StatusReason) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of StatusReason.
func (StatusReason) Fields() []ent.Field {
	return []ent.Field{
		key(gid.StatusReason), field.String("key").Optional().Nillable().Immutable(), field.String("name"),
		field.Enum("state").Values("AVAILABLE", "BUSY", "BREAK", "OFFLINE"),
		field.Bool("counts_as_work").Default(false), field.Bool("enabled").Default(true),
	}
}

// Indexes of StatusReason.
func (StatusReason) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "name").Unique(), index.Fields("workspace_id", "key").Unique().Annotations(entsql.IndexWhere("key IS NOT NULL"))}
}
