package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// ProviderToken is a provider's access token, shared by all nodes and by all channels with the same credential: it
// belongs to no workspace, and only who has the credential finds it. sealed holds the token and its refresh token;
// version rises with each write, and expires_at is absent where the token never ends.
type ProviderToken struct{ ent.Schema }

// Fields of ProviderToken. credential is a hash, never the credential itself.
func (ProviderToken) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), field.String("provider").Immutable(), field.String("credential").Immutable(), field.Bytes("sealed").Sensitive(),
		field.Int64("version"), timeOptional("expires_at"), field.Time("updated_at").Default(Now).UpdateDefault(Now),
	}
}

// Policy refuses what has no viewer, and desk every viewer but the process.
func (ProviderToken) Policy() ent.Policy { return needViewer{} }

// Indexes of ProviderToken.
func (ProviderToken) Indexes() []ent.Index {
	return []ent.Index{index.Fields("provider", "credential").Unique()}
}
